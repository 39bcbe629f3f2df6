"""The worker in the environment it is made for: a few minutes the first time, then a few seconds per test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.llm import workers
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

TOKENS = np.random.default_rng(0).integers(0, 40, (16, 64))  # few of the vocabulary, so features correlate
GROUP = 128
LEFT_OUT = "model.layers.1.mlp.down_proj"
LAYERS = {
    f"model.layers.{i}.{name}_proj"
    for i in range(2)
    for name in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")
}


@pytest.fixture(scope="module")
def python() -> Path:
    """Kept in the repository's cache, or where QUANTBENTO_CACHE says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return isolated.environment(workers.LLM_COMPRESSOR_REQUIREMENTS, print)


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory) -> Path:
    """2 layers with 256 dimensions and random weights, in bfloat16; the head shares the embedding's weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate([*characters, "<eos>"])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    wrapped.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    wrapped.save_pretrained(folder)
    return folder


class Made:
    """The checkpoint that the worker made from the tiny Llama."""

    def __init__(self, python: Path, model: Path, folder: Path, **changed: object) -> None:
        self.folder = folder / "made"
        np.save(folder / "calibration.npy", changed.pop("tokens", TOKENS))
        job = {
            "model": str(model),
            "output": str(self.folder),
            "calibration": str(folder / "calibration.npy"),
            "method": "gptq",
            "scheme": "W4A16",
            "group_size": GROUP,
            "kv_cache": "auto",
            "ignore": ["lm_head"],
            "smoothing_strength": 0.8,
            "dampening": 0.01,
            **changed,
        }
        self.progress: list[tuple] = []
        self.result = isolated.run(python, workers.LLM_COMPRESSOR, job, lambda *at: self.progress.append(at))

    def config(self) -> dict:
        return json.loads((self.folder / "config.json").read_text())

    def quantized(self) -> set[str]:
        """Layers whose weights are integers in the checkpoint."""
        packed = ".weight_packed"
        integers = {n for n, t in self.tensors().items() if n.endswith(packed) or t.dtype == torch.int8}
        return {name.removesuffix(packed).removesuffix(".weight") for name in integers}

    def tensors(self) -> dict:
        from safetensors.torch import load_file

        return load_file(self.folder / "model.safetensors")


@pytest.fixture(scope="module")
def gptq(python, tiny_llama, tmp_path_factory) -> Made:
    return Made(python, tiny_llama, tmp_path_factory.mktemp("gptq"), ignore=["lm_head", LEFT_OUT])


@pytest.fixture(scope="module")
def smoothquant(python, tiny_llama, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("smoothquant")
    return Made(python, tiny_llama, folder, method="smoothquant", scheme="W8A8", group_size=None)


def load(folder: Path):
    """Loads it in this environment, whose compressed-tensors is older than the worker's."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.no_grad():
        model(torch.zeros((1, 1), dtype=torch.int64))  # weights are unpacked when they are first used
    return model


def cosine_of_logits(one: Path, other: Path) -> float:
    """The cosine over all positions of the calibration sequences."""
    import torch

    tokens = torch.from_numpy(TOKENS)
    with torch.no_grad():
        logits = [load(folder)(tokens).logits.float().flatten() for folder in (one, other)]
    return torch.cosine_similarity(*logits, dim=0).item()


def test_gptq_quantizes_every_layer_but_those_left_out(gptq):
    assert gptq.quantized() == LAYERS - {LEFT_OUT}
    assert gptq.result["rounded"] is None


def test_gptq_checkpoint_says_its_scheme(gptq):
    config = gptq.config()["quantization_config"]
    weights = config["config_groups"]["group_0"]["weights"]
    assert config["quant_method"] == "compressed-tensors"
    assert (weights["num_bits"], weights["group_size"], weights["symmetric"]) == (4, GROUP, True)
    assert weights["actorder"] == "static"


def test_what_is_left_out_stays_as_it_was(gptq, tiny_llama):
    from safetensors.torch import load_file

    before, after = load_file(tiny_llama / "model.safetensors"), gptq.tensors()
    kept = {name for name in before if name in after}
    assert f"{LEFT_OUT}.weight" in kept and "model.embed_tokens.weight" in kept
    assert all(before[name].equal(after[name]) for name in kept)


def test_weights_take_four_bits(gptq):
    tensors = gptq.tensors()
    name = "model.layers.0.mlp.gate_proj"
    size = sum(t.nbytes for key, t in tensors.items() if key.startswith(f"{name}."))
    assert size <= 0.27 * 256 * 512 * 2


def test_gptq_is_nearer_than_rounding_to_nearest_on_what_it_was_calibrated_on(gptq, tiny_llama):
    """The first layer's queries: its input is the same in both models."""
    import torch

    source, made = load(tiny_llama), load(gptq.folder)
    first = source.model.layers[0]
    weight, found = (m.model.layers[0].self_attn.q_proj.weight.float() for m in (source, made))
    groups = weight.reshape(len(weight), -1, GROUP)
    scale = groups.abs().amax(-1, keepdim=True) / 7.5
    nearest = ((groups / scale).round().clamp(-8, 7) * scale).reshape_as(weight)
    with torch.no_grad():
        inputs = first.input_layernorm(source.model.embed_tokens(torch.from_numpy(TOKENS))).float()
        error, error_of_nearest = ((inputs @ (w - weight).T).square().mean() for w in (found, nearest))
    assert error < 0.8 * error_of_nearest


def test_gptq_answers_like_the_source(gptq, tiny_llama):
    assert cosine_of_logits(gptq.folder, tiny_llama) > 0.97


def test_progress_is_told_layer_by_layer(gptq, smoothquant):
    assert gptq.progress == [("gptq", part, 3) for part in range(3)]
    assert smoothquant.progress == [(stage, part, 3) for stage in ("smoothquant", "gptq") for part in range(3)]


def test_tokenizer_and_chat_template_come_along(gptq, tiny_llama):
    from transformers import AutoTokenizer

    before, after = AutoTokenizer.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(gptq.folder)
    text = "def f(x):\n    return x  # é"
    assert after(text)["input_ids"] == before(text)["input_ids"]
    assert after.chat_template == before.chat_template and after.eos_token == "<eos>"


def test_smoothquant_makes_int8_weights_and_activations(smoothquant):
    import torch

    group = smoothquant.config()["quantization_config"]["config_groups"]["group_0"]
    assert group["weights"]["num_bits"] == group["input_activations"]["num_bits"] == 8
    assert group["input_activations"]["dynamic"] is True
    assert smoothquant.quantized() == LAYERS
    assert smoothquant.tensors()["model.layers.0.mlp.up_proj.weight"].dtype == torch.int8


def test_smoothquant_moves_range_from_activations_to_weights(smoothquant):
    """The norms were all ones. They are divided by a factor, and the weights after them are multiplied by it."""
    norms = {name: t for name, t in smoothquant.tensors().items() if name.endswith("layernorm.weight")}
    assert len(norms) == 4
    assert all(norm.float().std() > 0.01 for norm in norms.values())


def test_smoothquant_answers_like_the_source(smoothquant, tiny_llama):
    assert cosine_of_logits(smoothquant.folder, tiny_llama) > 0.999


def test_asymmetric_scheme_and_layers_that_were_only_rounded(python, tiny_llama, tmp_path):
    """The same token over and over spans one dimension, so no Hessian can be inverted without dampening."""
    made = Made(
        python,
        tiny_llama,
        tmp_path,
        scheme="W4A16_ASYM",
        group_size=64,
        dampening=0.0,
        tokens=np.ones((1, 8), np.int64),
    )
    weights = made.config()["quantization_config"]["config_groups"]["group_0"]["weights"]
    assert (weights["symmetric"], weights["group_size"]) == (False, 64)
    assert made.result["rounded"].startswith("Hessian inversion failed for")


def test_worker_error_is_one_line(python, tmp_path):
    with pytest.raises(QuantbentoError) as error:
        Made(python, tmp_path / "missing", tmp_path)
    assert "\n" not in str(error.value)
    assert "missing" in str(error.value)
