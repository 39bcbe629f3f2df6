"""A variant that breaks on inputs that no sample has is found out."""

from __future__ import annotations

import torch

from quantbento.judging import robustness
from quantbento.runtimes.predictor import Predictor
from quantbento.tasks.difficult import TEXTS
from tests.judging.test_evaluate import SAMPLES, predictor


def entries(variant: Predictor) -> dict[str, dict]:
    baseline = robustness.baseline_rows(predictor(), SAMPLES.inputs)
    return {entry["case"]: entry for entry in robustness.examine(variant, SAMPLES.inputs, baseline)}


def test_an_equal_model_has_nothing_wrong():
    found = entries(predictor())
    assert set(found) == {"zeros", "noise", "ten times as large"}
    assert all((e["shape"], e["finite"], e["deterministic"]) == (True, True, True) for e in found.values())
    assert {e["distance"]["max_error"] for e in found.values()} == {0.0}
    assert robustness.problems(list(found.values())) == []


def test_large_values_that_overflow_are_found():
    found = entries(predictor(lambda x: torch.where(x.abs() > 5, float("inf"), x)))
    assert [kind for kind, e in found.items() if not e["finite"]] == ["ten times as large"]
    assert found["ten times as large"]["distance"] == {}
    assert robustness.problems(list(found.values())) == ["ten times as large: not finite"]


def test_answers_that_differ_from_call_to_call_are_found():
    found = entries(predictor(lambda x: x + torch.rand_like(x)))
    assert {e["deterministic"] for e in found.values()} == {False}


def test_another_shape_and_a_crash_are_told_with_their_inputs():
    def broken(x):
        if not x.any():
            raise RuntimeError("no kernel for zeros")
        return x[:, :1]

    told = robustness.problems(list(entries(predictor(broken)).values()))
    assert told == [
        "zeros: RuntimeError: no kernel for zeros",
        "noise: another shape than the baseline's",
        "ten times as large: another shape than the baseline's",
    ]


def test_clipping_shows_as_a_distance():
    found = entries(predictor(lambda x: x.clip(-3, 3)))
    assert found["noise"]["distance"]["max_error"] == 0
    assert found["ten times as large"]["distance"]["max_error"] == 17


def test_what_the_baseline_cannot_answer_says_nothing():
    def broken(x):
        if not x.any():
            raise RuntimeError("no kernel for zeros")
        return x

    baseline = robustness.baseline_rows(predictor(broken), SAMPLES.inputs)
    assert set(baseline) == {"noise", "ten times as large"}
    assert {e["case"] for e in robustness.examine(predictor(), SAMPLES.inputs, baseline)} == set(baseline)


def test_a_text_model_is_tried_on_every_kind(served_home):
    from quantbento import store
    from tests.conftest import model_store

    with model_store(served_home):
        loaded = store.load("tiny-encoder-onnx-int8", threads=1)
    baseline = robustness.baseline_rows(loaded, ["the film was good"])
    found = {e["case"]: e for e in robustness.examine(loaded, ["the film was good"], baseline)}
    assert set(found) == set(TEXTS)
    assert found["empty"]["refused"]
    assert found["empty"]["error"] is None
    answered = [e for kind, e in found.items() if kind != "empty"]
    assert all(e["shape"] and e["finite"] and e["deterministic"] for e in answered)
    assert all(e["distance"]["mean_cosine"] > 0.999999 for e in answered)
