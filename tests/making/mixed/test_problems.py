"""What is wrong with mixed precision is found before any work, with its place."""

from __future__ import annotations

import pytest

from tests.making.test_resolve import problems
from tests.minimal_recipe import minimal


def told(variant: dict, **changes) -> list[str]:
    return problems(minimal(variants=[{"name": "a", "quantizer": "onnx-dynamic"} | variant], **changes))


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ({"mixed": {"min": {"accuracy": 1}}, "quantizer": "picklable"}, "'picklable' has no layers"),
        ({"on_fail": "mixed", "quantizer": "picklable"}, "leave on_fail out, or take another quantizer"),
        ({"mixed": {"min": {"acuracy": 1}}}, "mixed.min.acuracy: unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ({"mixed": {"avg_bits": 5}}, "mixed.avg_bits: 5 is too few: onnx-dynamic with these options needs 8 bits"),
        ({"mixed": {"avg_bits": 32}}, "32 is full precision; allowed: 8 to 32"),
        (
            {"quantizer": "onnx-weights", "options": {"bits": 4}, "mixed": {"avg_bits": 4}},
            "needs 5.125 bits per weight",
        ),
        ({"mixed": {}}, "a goal is missing: min, max, max_drop, min_recovery with a metric, or avg_bits"),
        ({"mixed": {"avg_bits": 9, "min": {"accuracy": 1}}}, "avg_bits is a goal of its own: leave out min"),
        ({"on_fail": "mixed"}, "there is no gate on a metric"),
        ({"on_fail": "mixed", "mixed": {"min": {"accuracy": 1}}}, "`mixed` holds the gates on metrics already"),
    ],
)
def test_it_is_said(variant, expected):
    found = told(variant)
    assert any(expected in line for line in found), found


def test_bits_below_those_of_a_checkpoint_with_scales():
    recipe = {"task": "text-generation", "model": {"factory": "a.b:c"}}
    found = told({"quantizer": "rtn", "mixed": {"avg_bits": 4.1}}, **recipe)
    assert any("needs 4.125 bits per weight, with scales; allowed: 4.125 to 16" in line for line in found), found


def test_calibration_samples_may_be_for_the_ranking_alone():
    calibration = {"calibration": {"factory": "a.b:c"}}
    variant = {"quantizer": "torch-dynamic", "name": "a"}
    refused = problems(minimal(variants=[variant], **calibration) | {"task_options": {"no": 1}})
    assert any("needs calibration samples; leave it out" in line for line in refused)
    mixed = minimal(variants=[variant | {"mixed": {"min": {"accuracy": 1}}}], **calibration)
    assert not any("calibration" in line for line in problems(mixed | {"task_options": {"no": 1}}))
