"""Bentos that `quantbento build` built from the project's own files, once per test session."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path

import pytest

from quantbento import store
from quantbento.packing.build import build
from quantbento.packing.contents import Contents
from tests.conftest import ROOT, model_store

ENCODER = "tiny-encoder-onnx-int8"
WEIGHTS = "model.safetensors"


@functools.cache
def built_encoder(home: Path) -> Contents:
    """`configs/bentos/minilm.yaml` with the tiny encoder of `served_home`, in that store. The caller's environment has
    a setting for serving, which must not reach the Bento."""
    with model_store(home), contextlib.chdir(ROOT), pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTBENTO_TIMEOUT_SECONDS", "99")
        return build("minilm", ENCODER)


@functools.cache
def built_for_a_gpu(home: Path) -> Contents:
    """`configs/bentos/llama-3.1-8b.yaml` with a stand-in for the model, in its own store. Only their owner can read
    the weights, as safetensors writes them."""
    with model_store(home / "gpu"), contextlib.chdir(ROOT):
        save_stand_in("llama-3.1-8b-w4a16", "text-generation", "vllm", home / "artifact")
        return build("llama-3.1-8b")


def save_stand_in(name: str, task: str, runtime: str, folder: Path) -> store.StoredModel:
    """Stores a stand-in that looks like such an artifact, but cannot be loaded."""
    folder.mkdir(parents=True)
    (folder / "artifact.json").write_text(json.dumps({"schema_version": 1, "task": task, "runtime": runtime}))
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / WEIGHTS).chmod(0o600)
    return store.save(name, folder, {"variant": {"scheme": "W4A16"}}, {}, {})
