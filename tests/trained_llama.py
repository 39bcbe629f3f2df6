"""A Llama of 2 layers trained for seconds on Python's argparse, with activations as uneven as a large model's."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from quantbento.quantizers.base import Job
from quantbento.recipe import ModelSpec
from quantbento.samples import SampleSet
from quantbento.source import load_source
from quantbento.tasks.text_generation import TextGeneration
from tests.tiny_llama import tokenizer_of

STEPS, BATCH, CONTEXT, RATE = 80, 8, 64, 3e-3
LOUD, FACTOR = 8, 16.0  # channels that carry large activations, and how large; a power of two is exact in bfloat16
HELD_OUT = 20_000  # characters


def texts() -> tuple[list[str], list[str]]:
    """What the model is trained and calibrated on, and what it has not seen."""
    source = inspect.getsource(argparse)
    return [source[HELD_OUT:]], [source[:HELD_OUT]]


def job_of_trained(folder: Path, workspace: Path, sequences: int = 16, tokens: int = 64) -> Job:
    """A job for the checkpoint, with calibration data from what it was trained on."""
    seen, unseen = texts()
    source = load_source(ModelSpec(path=folder), "text-generation", workspace)
    samples = SampleSet(unseen)
    task = TextGeneration.create(source, TextGeneration.Options(window=64, windows=16), samples)
    calibration = task.sequences(seen, tokens, sequences, "calibration")
    return Job(source, task, samples, samples.inputs, workspace, calibration)


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
    """Norms give a few channels more and the layers after them take less: the same model, harder to quantize."""
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
    """Sign descent: torch.optim takes longer to import than this to run. On one thread: two are slower on steps this
    small, and much slower where they have to share a core."""
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
