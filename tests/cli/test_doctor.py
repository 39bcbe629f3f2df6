"""`quantbento doctor` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys

from quantbento import cli
from quantbento.core import machine, registry
from tests.cli.test_entry import HEAVY, SECONDS, imported


def test_it_lists_everything_and_exits_with_0(bento_home, capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in (
        *registry.names("quantizer"),
        *registry.names("runtime"),
        "cpu",
        "cuda",
        "INT8",
        "bf16",
        "BENTOML_HOME",
    ):
        assert name in out


def test_where_nothing_can_run_it_exits_with_1_and_says_what_to_install(bento_home, capsys, monkeypatch):
    monkeypatch.setattr(machine, "missing_packages", list)
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "no quantizer can run here" in out
    assert "needs onnx, onnxruntime, onnxscript, not installed; run: pip install 'quantbento[quantize]'" in out


def test_as_json(bento_home, capsys):
    assert cli.main(["doctor", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["anything_runs"] is True
    assert found["hardware"]["cores"] == machine.default_threads()
    assert {part["name"] for part in found["parts"]} >= {*registry.names("quantizer"), "cpu"}
    assert all(disk["free_bytes"] > 0 for disk in found["disks"])


def test_no_engine_is_imported():
    command = [sys.executable, "-X", "importtime", "-m", "quantbento.cli", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0
    assert "quantbento" in imported(done.stderr)
    assert not imported(done.stderr) & (HEAVY - {"bentoml", "numpy"})
