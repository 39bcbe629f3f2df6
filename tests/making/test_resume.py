"""A run that was killed after any of its stages: the next one does what was missing, and ends with the same report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.making.same_report import without_timings

RECIPE = {
    "schema_version": 1,
    "name": "tiny",
    "task": "tensor",
    "model": {"factory": "tests.tiny_tensor:model"},
    "custom_objects": {"preprocess": "tests.tiny_tensor:preprocess"},
    "evaluation": {"factory": "tests.tiny_tensor:samples"},
    "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
    "variants": [
        {"name": "failing", "quantizer": "onnx-dynamic", "gates": {"min": {"sqnr_db": 199}}},
        {"name": "torch-int8", "quantizer": "torch-dynamic", "gates": {"min": {"sqnr_db": 10}}},
    ],
}
# Done again in every run: what is cheap, and what is measured.
CHEAP = "failing: compare the canonical graph with the model's"  # at once, where an earlier run has proved it
AGAIN = ("plan", "load model and samples", "measure", ": reload", ": difficult inputs", ": measure")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("killed")
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.making.killed_runs", json.dumps(RECIPE), str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_after_a_kill_the_next_run_ends_with_the_same_report(runs):
    folder, told = runs
    expected = without_timings(json.loads((folder / "whole" / "tiny" / "report.json").read_text()))
    assert len(told["killed"]) == len(told["whole"]) - 1 > 14
    for number, (stage, _, _) in enumerate(told["killed"], 1):
        found = without_timings(json.loads((folder / f"after-{number}" / "tiny" / "report.json").read_text()))
        assert found == expected, f"killed after {stage}"


@pytest.mark.slow
def test_no_finished_stage_is_done_again(runs):
    _, told = runs
    for stage, before, after in told["killed"]:
        finished = {name for name in before if not name.endswith(AGAIN) and not name.startswith(AGAIN)}
        unfinished = {stage} if stage.endswith(": evaluate") else set()  # with what follows it, it is kept as one
        assert finished & set(after) - {CHEAP} - unfinished == set(), f"killed after {stage}"


@pytest.mark.slow
def test_all_that_was_missing_is_done(runs):
    _, told = runs
    costly = [name for name in told["whole"] if name.endswith((": quantize", ": evaluate", "reload and evaluate"))]
    assert len(costly) == 7
    for stage, before, after in told["killed"]:
        assert {name for name in costly if name in before + after} == set(costly), f"killed after {stage}"
    stage, _, after = told["killed"][0]
    assert stage == "plan" and set(costly) <= set(after)
