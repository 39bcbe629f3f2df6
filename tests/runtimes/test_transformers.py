"""A checkpoint scores and continues as its model does: alone or with other prompts, whole or in pieces."""

import contextlib
import copy
import gc
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes import torch as torch_runtime
from quantbento.runtimes import transformers as runtime
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.transformers import TransformersRuntime
from tests.jobs import run_elsewhere

LINES = [
    "The cat sat on the mat.",
    "A dog ran after the cat.",
    "naïve café — 日本 🙂🎉 fine.",
    "One, two, three, four.",
]
PROMPTS = ["The", "A dog ran after", "naïve", "One, two"]
POSITIONS = 128
GENERATE = """
import sys
from pathlib import Path
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.transformers import TransformersRuntime
model = TransformersRuntime.load(Path(sys.argv[1]), {"pickled": "model.pkl"}, threads=1)
print(ascii([g.text for g in model.generate(eval(sys.argv[2]), Sampling(max_tokens=40))]))
"""


@pytest.fixture(scope="module")
def tokenizer():
    """Byte-level with few merges, so most characters beyond ASCII are several tokens. It has no padding token."""
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=272,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    byte_level.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=byte_level, eos_token="<end>")


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    """A Llama with 2 layers that has memorized four lines and ends each with `<end>`."""
    torch.manual_seed(0)
    module = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=POSITIONS,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    rows = [[*tokenizer.encode(line), tokenizer.eos_token_id] for line in LINES]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    for step in range(80):  # sign descent: torch.optim takes longer to import than this to run
        module(tokens, labels=labels).loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 2e-3 * (1 - step / 80) * parameter.grad.sign()
                parameter.grad = None
    folder = tmp_path_factory.mktemp("tiny-llama")
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint):
    return load(checkpoint)


@pytest.fixture(scope="module")
def prompts(tokenizer):
    return [tokenizer.encode(text) for text in PROMPTS]


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(folder, threads=1, **config):
    return TransformersRuntime.load(folder, config, threads=threads)


def copied(checkpoint, folder, **generation):
    """The checkpoint with other generation defaults."""
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    GenerationConfig(**generation).save_pretrained(folder)
    return folder


def random_windows(count=5, length=12):
    return np.random.default_rng(0).integers(0, 272, (count, length))


def logprobs(module, windows):
    with torch.no_grad():
        return module(torch.from_numpy(windows)).logits.float().log_softmax(-1).numpy()[:, :-1]


@contextlib.contextmanager
def each_step(model, called):
    """Has a function called with the output of every forward pass."""
    hook = model.module.register_forward_hook(lambda module, given, output: called(output) and None)
    try:
        yield
    finally:
        hook.remove()


def whole(stream):
    """The pieces, and what the generator returns."""
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def test_scores_are_the_models_log_probabilities(checkpoint, model):
    windows = random_windows()
    expected = logprobs(AutoModelForCausalLM.from_pretrained(checkpoint), windows)
    found = model.score(windows, top=3)
    assert {name: (v.shape, v.dtype) for name, v in found.items()} == {
        "token_logprobs": ((5, 11), np.float32),
        "top_ids": ((5, 11, 3), np.int32),
        "top_logprobs": ((5, 11, 3), np.float32),
    }
    of_next = np.take_along_axis(expected, windows[:, 1:, None], axis=-1)[..., 0]
    np.testing.assert_allclose(found["token_logprobs"], of_next, atol=1e-5)
    np.testing.assert_array_equal(found["top_ids"], np.argsort(-expected, axis=-1)[..., :3])
    np.testing.assert_allclose(found["top_logprobs"], -np.sort(-expected, axis=-1)[..., :3], atol=1e-5)


@pytest.mark.parametrize("positions", [24, 5, 1], ids=["two-windows", "part-of-a-window", "one-position"])
def test_scoring_keeps_few_logits_at_a_time(model, monkeypatch, positions):
    windows, sizes = random_windows(), []
    expected = model.score(windows, top=2)
    monkeypatch.setattr(runtime, "LOGITS_BYTES", positions * 4 * 272)
    with each_step(model, lambda output: sizes.append(output.logits.nbytes)):
        found = model.score(windows, top=2)
    assert max(sizes) <= positions * 4 * 272
    np.testing.assert_allclose(found["token_logprobs"], expected["token_logprobs"], atol=1e-5)
    np.testing.assert_array_equal(found["top_ids"], expected["top_ids"])


@pytest.mark.parametrize("ask", ["score", "generate"])
def test_logits_that_are_no_numbers_are_an_error(checkpoint, prompts, ask):
    model = load(checkpoint)
    model.module.lm_head.weight.data[7] = float("nan")
    with pytest.raises(QuantbentoError, match="logits are not numbers"):
        model.score(random_windows(), top=1) if ask == "score" else model.generate(prompts, Sampling())


def test_lines_known_by_heart_are_continued_to_their_end(model, prompts, tokenizer):
    found = model.generate(prompts, Sampling(max_tokens=40))
    assert [p + g.text for p, g in zip(PROMPTS, found, strict=True)] == LINES
    assert {g.finish_reason for g in found} == {"stop"}
    for generated in found:  # rows of several lengths, and nothing after the end of each
        assert generated.token_ids.index(tokenizer.eos_token_id) == len(generated.token_ids) - 1
        assert tokenizer.decode(generated.token_ids, skip_special_tokens=True) == generated.text


@pytest.mark.parametrize(
    "sampling",
    [Sampling(max_tokens=20), Sampling(max_tokens=20, ignore_eos=True), Sampling(temperature=1.5, seed=1)],
    ids=["greedy", "past-the-end", "sampled"],
)
def test_company_changes_nothing(model, prompts, sampling):
    assert model.generate(prompts, sampling) == [model.generate([prompt], sampling)[0] for prompt in prompts]


def test_greedy_tokens_are_those_of_transformers(checkpoint, model, prompts):
    module = AutoModelForCausalLM.from_pretrained(checkpoint)
    found = model.generate(prompts, Sampling(max_tokens=30, ignore_eos=True))
    for prompt, generated in zip(prompts, found, strict=True):
        expected = module.generate(torch.tensor([prompt]), max_new_tokens=30, eos_token_id=None, do_sample=False)
        assert generated.token_ids == expected[0, len(prompt) :].tolist()


def test_the_number_of_tokens_ends_a_text(model, prompts):
    (found,) = model.generate(prompts[:1], Sampling(max_tokens=3))
    assert (found.finish_reason, len(found.token_ids)) == ("length", 3)
    assert LINES[0].startswith(PROMPTS[0] + found.text)


def test_ends_may_be_several_and_can_be_ignored(checkpoint, tokenizer, prompts, tmp_path):
    (comma,) = tokenizer.encode(",")
    model = load(copied(checkpoint, tmp_path, eos_token_id=[comma, tokenizer.eos_token_id]))
    found = model.generate(prompts, Sampling(max_tokens=40))
    assert [g.text for g in found[2:]] == [LINES[2].removeprefix("naïve"), ""]
    assert found[3].token_ids == [comma]
    ignoring = model.generate(prompts, Sampling(max_tokens=25, ignore_eos=True))
    assert [(g.finish_reason, len(g.token_ids)) for g in ignoring] == [("length", 25)] * 4


def test_what_a_checkpoint_suggests_is_not_applied(checkpoint, model, prompts, tmp_path):
    model_with_habits = load(
        copied(checkpoint, tmp_path, eos_token_id=0, repetition_penalty=9.0, do_sample=True, temperature=9.0, top_k=5)
    )
    assert model_with_habits.generate(prompts, Sampling()) == model.generate(prompts, Sampling())


def test_a_stop_string_ends_the_row_that_has_it(model, prompts):
    found = model.generate(prompts, Sampling(max_tokens=40, stop=("at", "after the c", "two, th")))
    assert [g.text for g in found] == [" c", " the c", LINES[2].removeprefix("naïve"), ", three, four."]


def test_a_seed_repeats_a_text_and_leaves_random_numbers_alone(model, prompts):
    def texts(seed, prompt=prompts[0]):
        sampling = Sampling(max_tokens=20, temperature=3.0, seed=seed, ignore_eos=True)
        return [g.text for g in model.generate([prompt, prompt], sampling)]

    state = torch.get_rng_state()
    first, *others = [texts(seed) for seed in (1, 2, 3)]
    assert first == texts(1)
    assert first[0] == first[1]
    assert all(first != other for other in others)
    unseeded = texts(None) + texts(None)
    assert len(set(unseeded)) == 4
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=40),
        Sampling(max_tokens=40, stop=("three", "日", "mat.")),
        Sampling(max_tokens=8, stop=("nothing like it",)),
        Sampling(max_tokens=40, temperature=3.0, seed=5, ignore_eos=True),
    ],
    ids=["to-the-end", "stop-strings", "cut-off", "random-bytes"],
)
def test_pieces_make_up_the_text(model, prompts, sampling):
    for prompt, generated in zip(prompts, model.generate(prompts, sampling), strict=True):
        stream = whole(model.stream(prompt, sampling))
        assert "".join(stream[0]) == generated.text
        assert stream[1] == generated
        assert all(stream[0])  # no empty pieces


def test_pieces_come_while_the_model_runs(model, prompts):
    gate = threading.Semaphore(2)
    with each_step(model, lambda output: gate.acquire(timeout=20)):
        stream = model.stream(prompts[0], Sampling(max_tokens=40))
        first = next(stream)  # though the model waits before its third token
        gate.release(40)
        assert first + "".join(stream) == LINES[0].removeprefix(PROMPTS[0])
    assert len(first) < 5


def streaming() -> list[threading.Thread]:
    """The threads of streams only: threads that other tests left behind may end meanwhile."""
    return [thread for thread in threading.enumerate() if thread.name == "quantbento-stream"]


def test_closing_a_stream_stops_the_model(model, prompts):
    steps, gate = [], threading.Semaphore(2)
    later = threading.Timer(0.5, gate.release, [POSITIONS])
    with each_step(model, lambda output: steps.append(gate.acquire(timeout=20))):
        stream = model.stream(prompts[0], Sampling(max_tokens=100, ignore_eos=True))
        next(stream)
        assert len(streaming()) == 1
        later.start()
        stream.close()  # while the model is at its third token at most
        later.join()
    assert len(steps) < 20
    assert streaming() == []


def test_what_fails_in_a_stream_is_raised_where_it_is_read(checkpoint, prompts):
    model = load(checkpoint)
    model.module.lm_head.weight.data[7] = float("nan")
    with pytest.raises(QuantbentoError, match="logits are not numbers"):
        list(model.stream(prompts[0], Sampling()))
    assert streaming() == []


def test_several_may_ask_at_once(model, prompts):
    sampling = Sampling(max_tokens=30, temperature=0.8, seed=2)
    expected = [g.text for g in model.generate(prompts, sampling)] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda p: "".join(model.stream(p, sampling)), prompts * 3)) == expected


@pytest.mark.parametrize(
    ("prompt", "sampling", "message"),
    [
        ([1] * 10, Sampling(max_tokens=119), "10 tokens and 119 to generate; the model takes at most 128$"),
        ([], Sampling(), "at least one token"),
        ([5, 272], Sampling(max_tokens=1), "tokens 5 to 272; the model knows 0 to 271"),
        ([-1], Sampling(max_tokens=1), "tokens -1 to -1; the model knows 0 to 271"),
        ([1], Sampling(max_tokens=1, stop=("",)), "stop string must not be empty"),
    ],
    ids=["too-long", "empty", "unknown-token", "negative-token", "empty-stop"],
)
def test_prompts_a_model_cannot_take_are_refused(model, prompt, sampling, message):
    with pytest.raises(InvalidInput, match=message):
        model.stream(prompt, sampling)  # before anything is read from it
    with pytest.raises(InvalidInput, match=message) as caught:
        model.generate([[1], prompt], sampling)
    assert caught.value.index == (0 if sampling.stop else 1) or caught.value.index is None


def test_a_prompt_may_fill_the_models_positions(model):
    generated = model.generate([[1] * 10], Sampling(max_tokens=118, ignore_eos=True))[0]
    assert len(generated.token_ids) == 118


def test_windows_a_model_cannot_take_are_refused(model):
    with pytest.raises(InvalidInput, match=r"129 tokens; the model takes at most 128$"):
        model.score(np.ones((2, POSITIONS + 1), np.int64), top=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_set(checkpoint, threads):
    load(checkpoint, threads=threads)
    assert torch.get_num_threads() == threads


def test_a_checkpoint_loads_in_another_format(checkpoint, model, prompts):
    in_bf16 = load(checkpoint, dtype="bfloat16")
    assert {p.dtype for p in in_bf16.module.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    windows = random_windows()
    found, expected = (m.score(windows, top=1)["token_logprobs"] for m in (in_bf16, model))
    assert 0 < np.abs(found - expected).max() < 0.5
    assert in_bf16.generate(prompts, Sampling()) == model.generate(prompts, Sampling())


@pytest.mark.parametrize(
    ("options", "layer", "tolerance"),
    [
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
            "Linear4bit",
            2.0,
        ),
        ({"load_in_8bit": True}, "Linear8bitLt", 0.5),
    ],
    ids=["nf4", "int8"],
)
def test_a_bitsandbytes_checkpoint_reloads_as_it_is(checkpoint, model, prompts, tmp_path, options, layer, tolerance):
    config = BitsAndBytesConfig(**options)
    made = AutoModelForCausalLM.from_pretrained(checkpoint, quantization_config=config, dtype=torch.float32)
    made.save_pretrained(tmp_path)
    model._tokenizer.save_pretrained(tmp_path)
    reloaded = load(tmp_path)
    layers = [m for m in reloaded.module.modules() if type(m).__name__ == layer]
    assert len(layers) == 14  # all but lm_head
    if layer == "Linear4bit":
        assert all(m.weight.quant_state.nested for m in layers)
    assert (tmp_path / "model.safetensors").stat().st_size < (checkpoint / "model.safetensors").stat().st_size * 0.6
    windows = random_windows()
    found, expected = reloaded.score(windows, top=1)["token_logprobs"], logprobs(made, windows)
    of_next = np.take_along_axis(expected, windows[:, 1:, None], axis=-1)[..., 0]
    np.testing.assert_allclose(found, of_next, atol=1e-4)
    assert 0 < np.abs(found - model.score(windows, top=1)["token_logprobs"]).mean() < tolerance
    assert reloaded.generate(prompts, Sampling()) == model.generate(prompts, Sampling())


@pytest.mark.slow
def test_a_pickled_int8_model_generates_elsewhere(checkpoint, model, prompts, tmp_path):
    artifact, elsewhere = tmp_path / "artifact", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(checkpoint, artifact, ignore=shutil.ignore_patterns("*.safetensors"))
    module = copy.deepcopy(model.module)
    torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    torch_runtime.save(module, artifact)
    reloaded = load(artifact, pickled="model.pkl")
    layers = [m for m in reloaded.module.modules() if isinstance(m, torch.ao.nn.quantized.dynamic.Linear)]
    assert len(layers) == 15
    text = run_elsewhere(GENERATE, elsewhere, str(artifact), repr(prompts)).strip()
    assert text == ascii([line.removeprefix(p) for p, line in zip(PROMPTS, LINES, strict=True)])


@pytest.mark.parametrize("missing", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_folder_that_lacks_a_file_is_an_error(checkpoint, tmp_path, missing):
    shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
    (tmp_path / missing).unlink()
    with pytest.raises(QuantbentoError, match="could not be loaded by the transformers runtime"):
        load(tmp_path)


def test_closing_frees_the_model(checkpoint):
    model = load(checkpoint)
    module = weakref.ref(model.module)
    model.close()
    gc.collect()
    assert module() is None
