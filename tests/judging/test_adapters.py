"""The worst adapter decides, and is named."""

from __future__ import annotations

from quantbento.judging.adapters import worst
from quantbento.recipe.gates import GateResult


def recovery(value: float | None, passed: bool = True) -> GateResult:
    return GateResult("perplexity", "min_recovery", 0.9, value, passed)


def test_the_worst_adapter_decides_and_is_named():
    [found] = worst([recovery(0.98)], {"red": [recovery(0.95)], "blue": [recovery(0.8, passed=False)]})
    assert (found.adapter, found.value, found.passed) == ("blue", 0.8, False)
    assert str(found).startswith("min_recovery perplexity with the adapter blue failed: 0.8 against 0.9")
    assert found.report()["adapter"] == "blue"


def test_where_the_model_alone_is_worst_no_adapter_is_named():
    [found] = worst([recovery(0.91)], {"red": [recovery(0.95)]})
    assert found.adapter is None
    assert "adapter" not in found.report()


def test_of_a_most_the_largest_is_worst():
    small, large = (GateResult("kl_divergence", "max", 0.5, value, True) for value in (0.1, 0.4))
    [found] = worst([small], {"red": [large]})
    assert found.value == 0.4


def test_speed_size_and_what_was_not_measured_are_the_models():
    alone = [GateResult("speedup", "min_speedup", 1.0, 2.0, True), recovery(0.98)]
    with_red = [GateResult("speedup", "min_speedup", 1.0, 0.1, False), recovery(None, passed=False)]
    assert worst(alone, {"red": with_red}) == alone


def test_with_confidence_the_worse_ends_are_compared():
    wide = GateResult("perplexity", "min_recovery", 0.5, 0.99, True, [0.6, 1.0], True)
    narrow = GateResult("perplexity", "min_recovery", 0.5, 0.9, True, [0.88, 0.92], True)
    [found] = worst([narrow], {"red": [wide]})
    assert found.adapter == "red"
