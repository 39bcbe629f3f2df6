"""A Llama with 2 layers, trained for seconds on Python's argparse, with activations as uneven as a large model's."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quantbento.core import registry
from quantbento.recipe import ModelSpec
from quantbento.tasks.source import SampleSet
from quantbento.tasks.text_generation import TextGeneration
from tests.jobs import JudgedJob, load_source
from tests.tiny_llama import tokenizer_of

if TYPE_CHECKING:
    import torch

STEPS, BATCH, CONTEXT, RATE = 80, 8, 64, 3e-3
LOUD, FACTOR = 8, 16.0  # channels that carry large activations, and how large; a power of two is exact in bfloat16
HELD_OUT = 20_000  # characters


def texts() -> tuple[list[str], list[str]]:
    """The texts the model is trained and calibrated on, and texts it has not seen."""
    source = inspect.getsource(argparse)
    return [source[HELD_OUT:]], [source[:HELD_OUT]]


def job_of_trained(folder: Path, workspace: Path, sequences: int = 16, tokens: int = 64) -> JudgedJob:
    """A job for the checkpoint, with calibration data from its training text."""
    seen, unseen = texts()
    source = load_source(ModelSpec(path=folder), "text-generation", workspace)
    samples = SampleSet(unseen)
    task = TextGeneration.create(source, TextGeneration.Options(window=64, windows=16), samples)
    calibration = task.sequences(seen, tokens, sequences, "calibration")
    return JudgedJob(source, task, workspace, calibration, samples=samples)


class Made:
    """The artifact that a quantizer made from the checkpoint."""

    def __init__(self, source: Path, folder: Path, quantizer: str, options: dict[str, Any]) -> None:
        method = registry.quantizer(quantizer)()
        self.source, self.folder, self.job = source, folder / "made", job_of_trained(source, folder)
        self.folder.mkdir()
        before = _contents(source)
        self.done = method.quantize(self.job, method.Options(**options), self.folder)
        self.source_is_untouched = _contents(source) == before
        runtime = registry.runtime_of(method, self.job.task)
        self.job.complete(self.folder, runtime, self.done.runtime_config)

    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]

    def tensors(self) -> dict[str, torch.Tensor]:
        return tensors_of(self.folder)

    def error(self) -> float:
        """Mean KL divergence from the source's next-token distributions on the calibration data, in nats."""
        import torch

        tokens = torch.from_numpy(self.job.calibration)
        with torch.no_grad():
            own, source = (loaded(f)(tokens).logits.float().log_softmax(-1) for f in (self.folder, self.source))
        return float((source.exp() * (source - own)).sum(-1).mean())


def check_scheme(made: Made, scheme: str, ratio: float, least: float, most: float) -> None:
    """All 14 layers are in this scheme, in so many bytes of the source's, and its error is between two bounds."""
    assert made.done.counts == {f"{scheme} layers": 14}
    assert made.done.notes[0].startswith(f"14 layers in {scheme}: ")
    assert made.done.weight_ratio == pytest.approx(ratio, abs=0.01)
    assert least < made.error() < most


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def loaded(folder: Path) -> Any:
    """The model, loaded through transformers; the first call unpacks its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.no_grad():
        model(torch.zeros((1, 1), dtype=torch.int64))
    return model


def write_trained_llama(folder: Path) -> Path:
    """Writes the checkpoint in hub format, in bfloat16; every linear dimension is a multiple of 128."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of(texts()[0][0])
    stream = torch.tensor(tokenizer(texts()[0], verbose=False)["input_ids"][0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=384,
                hidden_size=256,
                intermediate_size=512,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                bos_token_id=0,
                eos_token_id=1,
                tie_word_embeddings=False,
                initializer_range=0.06,
            )
        )
        _train(model, stream.unfold(0, CONTEXT, 1))
    _make_uneven(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _make_uneven(model: Any) -> None:
    """Scales a few channels up in the norms and down in the layers after them: the same model, harder to quantize."""
    import torch

    with torch.no_grad():
        for layer in model.model.layers:
            readers = {
                layer.input_layernorm: [getattr(layer.self_attn, f"{n}_proj") for n in "qkv"],
                layer.post_attention_layernorm: [layer.mlp.gate_proj, layer.mlp.up_proj],
            }
            for norm, linears in readers.items():
                norm.weight[:LOUD] *= FACTOR
                for linear in linears:
                    linear.weight[:, :LOUD] /= FACTOR


def _train(model: Any, windows: Any) -> None:
    """Sign descent, because importing torch.optim takes longer than this takes to run. It runs on one thread: two are
    slower on steps this small, and much slower where they share a core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for step in range(STEPS):
        batch = windows[torch.randint(len(windows), (BATCH,))]
        model(input_ids=batch, labels=batch, use_cache=False).loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= RATE * (1 - step / STEPS) * parameter.grad.sign()
                parameter.grad = None
    torch.set_num_threads(threads)
