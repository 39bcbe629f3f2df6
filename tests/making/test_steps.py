"""Which step failed: the one a variant failed in, and the last one of all."""

from __future__ import annotations

import pytest

from quantbento.core.progress import Silent
from quantbento.making.steps import Steps


def test_the_steps_that_raised_are_remembered():
    steps = Steps(Silent())
    with steps.stage("plan") as advance:
        advance(1, 2)
    assert steps.failed is None
    with pytest.raises(ValueError), steps.stage("int8: quantize"), steps.stage("autoround"):
        raise ValueError
    assert steps.failed == "int8: quantize"
    assert steps.failed_of("int8") == "int8: quantize"
    assert steps.failed_of("int4") == "int4: full precision"


def test_that_the_machine_was_busy_is_not_told():
    told = []
    inner = Silent()
    inner.say = told.append
    steps = Steps(inner)
    steps.say("int8: the machine was busy: calls varied by 2.0x")
    steps.say("int8: quantized 3 Linear")
    assert told == ["int8: quantized 3 Linear"]
