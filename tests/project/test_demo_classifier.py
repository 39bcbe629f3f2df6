"""`make demo-classifier`: its data are what they say, and the whole of it keeps the accuracy of the model it trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter

import bentoml
import pytest

from examples import demo_classifier, docstring_classifier, docstrings
from tests.conftest import ROOT, model_store


def test_there_are_enough_docstrings_of_each_part():
    (texts, labels), (unseen, answers) = docstrings.training(), docstrings.held_out()
    assert len(texts) == len(labels) >= 2000
    assert len(unseen) == len(answers) >= 500
    assert set(labels) == set(answers) == set(docstrings.LABELS) and len(docstrings.LABELS) >= 4
    assert min(Counter(labels).values()) >= 200 and min(Counter(answers).values()) >= 50


def test_held_out_docstrings_are_unlike_those_that_are_trained_on():
    words = [set(re.findall(r"\w+", text.lower())) for text in docstrings.training()[0]]
    for text in docstrings.held_out()[0][:100]:
        mine = set(re.findall(r"\w+", text.lower()))
        assert all(len(mine & theirs) < 0.6 * len(mine | theirs) for theirs in words), text


def test_it_counts_the_docstrings():
    assert demo_classifier.counted(["b", "a", "b"]) == "3 docstrings: 1 a, 2 b"


def test_it_serves_the_fastest_of_the_stored_variants():
    speedups = {"slow:1": 1.1, "fast:1": 2.0, None: 3.0}  # without a tag: it missed a gate
    variants = [{"tag": tag, "speedup": {"median": median}} for tag, median in speedups.items()]
    assert demo_classifier.fastest(variants) == "fast:1"
    assert demo_classifier.fastest(variants[-1:]) is None


def test_it_calibrates_on_docstrings_that_are_trained_on(tmp_path):
    rows = [json.loads(line) for line in demo_classifier.write_calibration(tmp_path).read_text().splitlines()]
    texts = [row["text"] for row in rows]
    assert len(texts) == 200 and set(texts) <= set(docstrings.training()[0])


def test_a_command_that_fails_ends_it_with_its_exit_code(monkeypatch, tmp_path, capfd):
    """Here the model's folder is empty."""
    monkeypatch.setattr(docstring_classifier, "model", lambda: tmp_path)
    assert demo_classifier.main() == 2
    out, error = capfd.readouterr()
    assert out.startswith(f"training: {len(docstrings.training()[0])} docstrings: ")
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("$")] == [
        ["$", "quantbento", "init"],
    ]
    assert error.startswith("error: ")


@pytest.mark.slow
@pytest.mark.server
def test_from_fine_tuning_to_a_bento(tmp_path):
    command = [sys.executable, "-m", "examples.demo_classifier"]
    with model_store(tmp_path / "bentoml"):
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        typed = re.findall(r"(?m)^\$ (quantbento \w+|python \S+)", done.stdout)
        assert typed == ["quantbento init", "python save_models.py", "quantbento serve", "quantbento build"]
        report = json.loads((ROOT / demo_classifier.REPORT).read_text(encoding="utf-8"))
        accuracy = report["baseline"]["metrics"]["accuracy"]
        assert accuracy >= 0.8
        stored = [variant for variant in report["variants"] if variant["tag"]]
        assert stored
        for variant in stored:
            assert variant["metrics"]["accuracy"] >= accuracy - 0.005
            assert [gate["metric"] for gate in variant["gates"]] == ["accuracy"]
            bentoml.models.get(variant["tag"])
        bentoml.get(re.search(r"(?m)^bento +(\S+)$", done.stdout)[1])
    served = next(v for v in stored if f"serve {v['tag']}\n" in done.stdout)
    right, asked = map(int, re.search(r"/classify: (\d+) of (\d+) right", done.stdout).groups())
    assert asked == len(docstrings.held_out()[0])
    assert right / asked == pytest.approx(served["metrics"]["accuracy"], abs=0.002)  # one text may be on the edge
    answers = re.findall(r"(?m)^([a-z ]+?) +([01]\.\d\d) \| ([a-z ]+?) +\| ", done.stdout)
    assert {part for _, _, part in answers} == set(docstrings.LABELS)
    assert all(label in docstrings.LABELS and 0.2 <= float(score) <= 1 for label, score, _ in answers)
