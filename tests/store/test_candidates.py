from __future__ import annotations

import pytest

from quantbento.core.errors import StoreError
from quantbento.store.candidates import LATENCY, MEMORY, QUALITY, SIZE, SPEEDUP, THROUGHPUT, of_manifest, of_report

ROW = {
    "name": "int8",
    "tag": "m-int8:1",
    "passed": True,
    "gates": [],
    "latency_ms": {"p50": 4.0},
    "throughput": 100.0,
    "speedup": {"median": 2.0, "p10": 1.6, "p90": 2.5},
    "size_bytes": 5_000_000,
    "peak_memory_bytes": 80_000_000,
    "recovery": {"similarity_spearman": 0.9, "mean_cosine": 0.99},
}


def one(**changes):
    [found] = of_report({"task": "feature-extraction", "variants": [ROW | changes]})
    return found


def test_the_figures_of_a_row():
    found = one()
    assert (found.name, found.stored, found.refused) == ("m-int8:1", True, None)
    values = {axis.name: figure.value for axis, figure in found.figures.items()}
    assert values == {"latency": 4, "throughput": 100, "speedup": 2, "size": 5, "memory": 80, "recovery": 0.99}
    latency, throughput = found.figures[LATENCY], found.figures[THROUGHPUT]
    assert (latency.low, latency.high) == pytest.approx((4 / 1.25, 4 / 0.8))  # 2.5 / 2 and 1.6 / 2
    assert (throughput.low, throughput.high) == pytest.approx((80, 125))


def test_intervals_of_the_report_win_over_the_spread_of_rounds():
    intervals = {"speedup": {"value": [1.9, 2.1]}, "mean_cosine": {"recovery": [0.98, 0.995]}}
    found = one(intervals=intervals)
    assert (found.figures[SPEEDUP].low, found.figures[SPEEDUP].high) == pytest.approx((1.9, 2.1))
    assert (found.figures[QUALITY].low, found.figures[QUALITY].high) == (0.98, 0.995)


def test_the_metric_that_is_asked_for():
    [found] = of_report({"task": "feature-extraction", "variants": [ROW]}, "similarity_spearman")
    assert found.figures[QUALITY].value == 0.9
    [found] = of_report({"task": "their:Own", "variants": [ROW]})
    assert found.figures[QUALITY].value == 0.9  # of a task that is not here, the first


def test_what_is_missing_and_what_is_refused():
    bare = one(latency_ms={}, throughput=None, speedup=None, size_bytes=None, peak_memory_bytes=None, recovery={})
    assert bare.figures == {}
    assert one(error="no memory", passed=False).refused == "could not be made: no memory"
    assert one(gates=[{"metric": "x", "passed": False}], passed=False).refused == "failed its gates: x"
    assert one(passed=False).refused == "did not pass its gates"
    assert (one(tag=None).name, one(tag=None).stored) == ("int8", False)
    assert {SIZE, MEMORY} <= one().figures.keys()


def test_a_model_that_no_recipe_made():
    with pytest.raises(StoreError, match="x:1 was not made from a recipe"):
        of_manifest("x:1", {"variant": {"scheme": "int8"}})
