"""The environment in a report describes this machine, and package versions are read without importing the packages."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys

import pytest

from quantbento import __version__
from quantbento.core import machine, registry
from quantbento.core.machine import describe, missing_packages, other_cpu, package_versions, saturates

NAMED = ("quantbento", *registry.runtime("torch").distributions)


def test_the_environment_is_this_one_and_fits_into_json():
    environment = describe(3, NAMED)
    assert environment["python"] == platform.python_version()
    assert environment["threads"] == 3
    assert environment["cpu"]
    assert environment["packages"]["quantbento"] == __version__
    assert environment["packages"]["torch"] == importlib.metadata.version("torch")
    assert json.loads(json.dumps(environment)) == environment


def test_packages_that_are_not_installed_are_left_out():
    assert package_versions(("numpy", "no-such-package")) == {"numpy": importlib.metadata.version("numpy")}


def test_missing_packages_are_those_that_cannot_be_imported(monkeypatch):
    assert missing_packages(("json", "no_such_module", "numpy")) == ["no_such_module"]
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert missing_packages(("json", "numpy")) == ["numpy"]


def test_reading_versions_imports_nothing():
    code = (
        "import sys; from quantbento.core.machine import package_versions; versions = package_versions(['torch']); "
        "print('torch' in versions, [m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


VNNI, PLAIN, ARM = ["avx2", "avx512_vnni"], ["avx2", "avx512f"], ["asimddp"]


@pytest.mark.parametrize(
    ("flags", "cut_off"), [(VNNI, False), (PLAIN, True), (ARM, False)], ids=["vnni", "avx2", "arm"]
)
def test_8_bit_products_are_cut_off_on_x86_without_vnni(flags, cut_off):
    assert saturates(flags) is cut_off


@pytest.mark.parametrize(
    ("judged", "here", "runtime", "warned"),
    [
        (VNNI, PLAIN, "onnx", True),
        (VNNI, VNNI, "onnx", False),
        (PLAIN, PLAIN, "onnx", False),
        (VNNI, PLAIN, "torch", False),
    ],
    ids=["other-cpu", "same-cpu", "judged-so", "torch"],
)
def test_a_model_on_a_cpu_that_computes_otherwise_is_warned_of(monkeypatch, judged, here, runtime, warned):
    monkeypatch.setattr(machine, "_cpu", lambda: ("this one", set(here)))
    warning = other_cpu({"cpu": "that one", "cpu_flags": judged}, runtime)
    assert (warning is not None) is warned
    assert warning is None or ("that one" in warning and "this one" in warning)


def test_a_gpu_is_known_by_its_driver(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "NVIDIA_DRIVER", tmp_path / "version")
    assert machine.devices() == {"cpu"}
    (tmp_path / "version").touch()
    assert machine.devices() == {"cpu", "cuda"}
