"""A small Llama of the project's own, trained on the Python standard library's source in about two minutes.

1. the corpus: the standard library of this Python; one file in sixteen is held out
2. a byte-level BPE tokenizer and a LlamaForCausalLM, both trained on the rest
3. kept in hub format under `.cache/tiny-llama/<hash of this file and of the corpus>`

Hidden size and both sides of every linear layer are multiples of 128, the group size of INT4. Few wide layers rather
than many narrow ones: narrow ones are no faster in INT8.

The model is the same again for the same Python, versions of torch, transformers and tokenizers, kind of processor and
number of threads; only the first of these is in the hash, because a model trained elsewhere is as good.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "tiny-llama"
# Tests, generated tables, and what distributions package apart from the rest or Python 3.12 dropped.
LEFT_OUT = {"test", "tests", "encodings", "pydoc_data", "idlelib", "tkinter", "turtledemo", "ensurepip", "venv"}
LEFT_OUT |= {"distutils", "lib2to3"}
SMALLEST_FILE = 2_000  # bytes; shorter ones are empty or mere imports
HELD_OUT = 16  # one file in so many

BEGIN, END, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
VOCABULARY, HIDDEN, LAYERS, INTERMEDIATE, HEADS, KEY_VALUE_HEADS = 512, 512, 2, 1024, 8, 4
LONGEST = 1024  # tokens the model accepts
STEPS, BATCH, CONTEXT = 400, 4, 256
LEARNING_RATE, WARM_UP = 3e-3, 30  # steps

# A message becomes a comment, and the answer is the code that follows it.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] }}{{ '\\n' }}"
    "{% else %}{{ '# ' + message['content'].replace('\\n', '\\n# ') + '\\n' }}{% endif %}"
    "{% endfor %}"
)


def model() -> Path:
    """The folder of the trained model: bfloat16 weights, tokenizer, configuration. Trained on the first call."""
    folder = CACHE / _key()
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # a second process waits rather than trains too
        if not folder.exists():
            staging = CACHE / f"{folder.name}.staging"
            shutil.rmtree(staging, ignore_errors=True)  # what an interrupted training left
            _train(staging)
            staging.rename(folder)
    return folder


def calibration() -> list[str]:
    """The files the model was trained on, shuffled, the same way every time."""
    return list(_files(held_out=False).values())


def held_out() -> list[str]:
    """The files it has never seen, shuffled, the same way every time."""
    return list(_files(held_out=True).values())


def _files(held_out: bool) -> dict[str, str]:
    """Texts by file name, in the order of the names' hashes, which also say what is held out."""
    library = Path(sysconfig.get_path("stdlib"))
    hashes = {}
    for path in library.rglob("*.py"):
        name = path.relative_to(library)
        standard = name.parts[0].removesuffix(".py") in sys.stdlib_module_names  # and not site-packages or the like
        if standard and LEFT_OUT.isdisjoint(name.parts) and path.stat().st_size >= SMALLEST_FILE:
            hashes[name.as_posix()] = int(hashlib.sha256(name.as_posix().encode()).hexdigest(), 16)
    chosen = [name for name in hashes if (hashes[name] % HELD_OUT == 0) == held_out]
    return {name: (library / name).read_text(encoding="utf-8") for name in sorted(chosen, key=hashes.__getitem__)}


def _key() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for text in (*calibration(), *held_out()):
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:16]


def _train(folder: Path) -> None:
    import torch

    texts = calibration()
    started = time.perf_counter()
    _say(f"training on {len(texts)} files of Python's standard library, {sum(map(len, texts)) / 1e6:.1f} MB")
    tokenizer = _tokenizer(texts)
    stream = torch.tensor(
        [
            token
            for ids in tokenizer(texts, verbose=False)["input_ids"]
            for token in (tokenizer.bos_token_id, *ids, tokenizer.eos_token_id)
        ]
    )
    _say(f"{len(stream):,} tokens, {time.perf_counter() - started:.0f} s")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _network(tokenizer)
        _fit(network, stream)
    network.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _say(f"trained in {time.perf_counter() - started:.0f} s")


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerBase:
    """Byte-level BPE: no character is unknown, and decoding gives back every space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _network(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=LONGEST,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        # Not the usual 0.02, which such a narrow model takes many steps to grow out of.
        initializer_range=0.06,
    )
    return LlamaForCausalLM(config)


def _fit(network: LlamaForCausalLM, stream: torch.Tensor) -> None:
    """Trains on random windows of the stream, a vector of token ids."""
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=WARM_UP / STEPS, cycle_momentum=False
    )
    windows = stream.unfold(0, CONTEXT, 1)
    network.train()
    for step in range(1, STEPS + 1):
        batch = windows[torch.randint(len(windows), (BATCH,))]
        loss = network(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % (STEPS // 6) == 0:
            _say(f"step {step}/{STEPS} loss {loss.item():.2f}")
    network.eval()


def _say(line: str) -> None:
    print(f"tiny-llama: {line}", file=sys.stderr, flush=True)
