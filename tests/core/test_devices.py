"""A model runs where it was asked to, on the best device by itself, and nowhere in silence."""

from __future__ import annotations

import pytest
import torch
from pydantic import BaseModel, ValidationError

from quantbento.core import devices, machine
from quantbento.core.devices import Device, choose, torch_problem
from quantbento.core.errors import QuantbentoError


class Asked(BaseModel):
    device: Device


def has(monkeypatch, *kinds):
    monkeypatch.setattr(machine, "devices", lambda: set(kinds))


def fine(device):
    return None


def broken(device):
    return None if device == "cpu" else f"no driver for {device}"


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3", "xpu:1"])
def test_devices_have_pytorchs_names(device):
    assert Asked(device=device).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "CUDA", ""])
def test_other_names_are_refused_with_those_that_there_are(device):
    with pytest.raises(ValidationError, match=r"allowed: auto, cpu, cuda, cuda:N"):
        Asked(device=device)


@pytest.mark.parametrize(
    ("here", "able", "problem", "chosen"),
    [
        (("cpu", "cuda"), ("cpu", "cuda"), fine, "cuda"),
        (("cpu", "cuda"), ("cpu", "cuda"), broken, "cpu"),
        (("cpu", "cuda"), ("cpu",), fine, "cpu"),
        (("cpu",), ("cpu", "cuda"), fine, "cpu"),
        (("cpu", "xpu"), ("cpu", "cuda"), fine, "cpu"),
        (("cpu", "xpu"), ("cpu", "xpu"), fine, "xpu"),
    ],
    ids=["gpu", "gpu-that-does-not-work", "model-for-the-cpu", "no-gpu", "another-gpu", "intels"],
)
def test_auto_is_a_gpu_that_can_be_used_or_the_cpu(monkeypatch, here, able, problem, chosen):
    has(monkeypatch, *here)
    assert choose("auto", able, problem, "it") == chosen


def test_what_was_asked_for_is_taken_or_refused_with_the_reason(monkeypatch):
    has(monkeypatch, "cpu", "cuda")
    assert choose("cuda:1", ("cpu", "cuda"), fine, "it") == "cuda:1"
    assert choose("cpu", ("cpu", "cuda"), broken, "it") == "cpu"
    with pytest.raises(QuantbentoError, match=r"tiny:1 runs on cpu, not on cuda:1 \(this machine has cpu, cuda\)"):
        choose("cuda:1", ("cpu",), fine, "tiny:1")
    with pytest.raises(QuantbentoError, match="it cannot run on cuda: no driver for cuda"):
        choose("cuda", ("cpu", "cuda"), broken, "it")


def test_auto_for_a_model_that_needs_a_gpu_tells_what_is_missing(monkeypatch):
    has(monkeypatch, "cpu", "cuda")
    with pytest.raises(QuantbentoError, match="no driver for cuda"):
        choose("auto", ("cuda",), broken, "it")
    has(monkeypatch, "cpu")
    with pytest.raises(QuantbentoError, match="it runs on cuda, not on cpu"):
        choose("auto", ("cuda",), broken, "it")


@pytest.mark.parametrize(
    ("built_for", "count", "device", "told"),
    [
        (None, 0, "cpu", None),
        (None, 0, "cuda", "is a build without CUDA"),
        ("13.0", 0, "cuda", "finds no NVIDIA GPU"),
        ("13.0", 2, "cuda", None),
        ("13.0", 2, "cuda:1", None),
        ("13.0", 2, "cuda:2", "finds 2, counted from cuda:0"),
    ],
)
def test_why_pytorch_cannot_use_a_gpu(monkeypatch, built_for, count, device, told):
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    found = torch_problem(device)
    assert found is None if told is None else told in found


def test_an_intel_gpu_is_found_by_its_vendor(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "NVIDIA_DRIVER", tmp_path / "none")
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "DRM", tmp_path)
    assert machine.devices() == {"cpu"}
    for number, vendor in enumerate(["0x1002", "0x8086"]):
        (tmp_path / f"renderD{number}" / "device").mkdir(parents=True)
        (tmp_path / f"renderD{number}" / "device" / "vendor").write_text(vendor + "\n")
    assert machine.devices() == {"cpu", "xpu"}
    assert devices.kind_of("xpu:1") == "xpu"
