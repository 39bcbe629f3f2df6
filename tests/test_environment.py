"""The environment of a report is this machine's, and reads no package it need not import."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys

from quantbento import __version__
from quantbento.environment import PACKAGES, describe, missing_packages, package_versions


def test_the_environment_is_this_one_and_fits_into_json():
    environment = describe(threads=3)
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
        "import sys; from quantbento import environment as e; versions = e.package_versions(e.PACKAGES); "
        "print('torch' in versions, [m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"
    assert "torch" in PACKAGES
