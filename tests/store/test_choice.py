"""Choosing, by ten cases with reasons that were worked out by hand."""

from __future__ import annotations

import pytest

from quantbento.store.candidates import (
    LATENCY,
    MEMORY,
    QUALITY,
    SIZE,
    SPEEDUP,
    THROUGHPUT,
    Candidate,
    Figure,
)
from quantbento.store.choice import Limit, choose, compare, dominates, shown


def exact(value: float, noise: float = 0.0) -> Figure:
    return Figure(value, value * (1 - noise), value * (1 + noise))


def candidate(
    name: str, ms: float, size: float = 20, quality: float = 0.99, *, noise: float = 0.05, refused: str | None = None
) -> Candidate:
    """One that answers in `ms` and so 1000 / ms times a second."""
    figures = {
        LATENCY: exact(ms, noise),
        THROUGHPUT: exact(1000 / ms, noise),
        SIZE: exact(size),
        QUALITY: exact(quality),
        MEMORY: exact(10 * size),
    }
    return Candidate(name, True, figures, refused)


FAST, GOOD = candidate("fast", 2, quality=0.98), candidate("good", 8, quality=0.999)
SMALL, BIG = candidate("small", 5, size=5, quality=0.97), candidate("big", 9, size=80, quality=0.98)


def test_1_the_fastest_and_why_the_others_are_not():
    found = choose([GOOD, FAST, SMALL, BIG])
    assert found.chosen is FAST
    assert found.why == "the best latency of 4 that qualify: 2 ms"
    assert found.reasons == {
        "good": "slower (8 ms against 2 ms), though better recovery (0.9990 against 0.9800)",
        "small": "slower (5 ms against 2 ms), though smaller (5 MB against 20 MB), less memory (50 MB against 200 MB)",
        "big": "dominated by fast: slower (9 ms against 2 ms), less throughput (111 per s against 500 per s), "
        "larger (80 MB against 20 MB), more memory (800 MB against 200 MB)",
    }
    assert found.front == ("good", "fast", "small")


def test_2_a_limit_is_missed_by_so_much():
    found = choose([FAST, candidate("slow", 23.1)], "quality", [Limit("max-latency-ms", LATENCY, 20)])
    assert found.chosen is FAST
    assert found.why == "the only one that qualifies: recovery 0.9800"
    assert found.reasons == {"slow": "misses max-latency-ms 20 by 3.1 ms"}


def test_3_within_noise_the_smaller_is_taken():
    larger = candidate("larger", 2.0, size=30, noise=0.1)
    smaller = candidate("smaller", 2.1, size=20, noise=0.1)
    found = choose([larger, smaller, GOOD])
    assert found.chosen is smaller
    assert found.why == "latency 2.1 ms, within noise of the best of 3 that qualify (2 ms), and better size " + (
        "(20 MB against 30 MB)"
    )
    assert found.reasons["larger"] == "dominated by smaller: larger (30 MB against 20 MB), more memory " + (
        "(300 MB against 200 MB)"
    )


def test_4_within_noise_quality_comes_before_size():
    worse = candidate("worse", 2.0, size=10, quality=0.98, noise=0.1)
    better = candidate("better", 2.1, size=20, quality=0.99, noise=0.1)
    found = choose([worse, better])
    assert found.chosen is better
    assert found.reasons == {
        "worse": "within noise of the chosen (2 ms against 2.1 ms), lower recovery (0.9800 against 0.9900)"
    }


def test_5_beyond_noise_the_better_figure_wins():
    found = choose([candidate("one", 2.0, noise=0.01), candidate("two", 2.1, quality=0.999, noise=0.01)])
    assert found.chosen.name == "one"


def test_6_the_smallest():
    found = choose([GOOD, FAST, SMALL, BIG], "size")
    assert found.chosen is SMALL
    assert found.why == "the best size of 4 that qualify: 5 MB"
    assert found.reasons["fast"].startswith("larger (20 MB against 5 MB), though faster (2 ms against 5 ms)")


def test_7_the_best_quality_within_limits():
    limits = [Limit("max-latency-ms", LATENCY, 8), Limit("max-size-mb", SIZE, 50), Limit("max-memory-mb", MEMORY, 300)]
    found = choose([GOOD, FAST, SMALL, BIG], "quality", limits)
    assert found.chosen is GOOD
    assert found.reasons["big"] == (
        "misses max-latency-ms 8 by 1 ms; misses max-size-mb 50 by 30 MB; misses max-memory-mb 300 by 500 MB"
    )


def test_8_nothing_qualifies_and_what_comes_nearest():
    limits = [Limit("max-latency-ms", LATENCY, 4), Limit("min-recovery", QUALITY, 0.99)]
    found = choose([GOOD, FAST, SMALL], limits=limits)
    assert found.chosen is None
    assert found.why == "nothing qualifies; nearest is fast, which misses min-recovery 0.99 by 0.01"
    assert found.reasons["small"] == "misses max-latency-ms 4 by 1 ms; misses min-recovery 0.99 by 0.02"


def test_9_a_failed_gate_is_no_choice_however_fast():
    failed = candidate("failed", 0.1, refused="failed its gates: mean_cosine")
    found = choose([failed, GOOD])
    assert found.chosen is GOOD
    assert found.reasons == {"failed": "failed its gates: mean_cosine"}
    assert choose([failed]).why == "nothing qualifies: no variant passed its gates and was measured"


def test_10_what_was_not_measured_cannot_be_checked():
    bare = Candidate("bare", True, {LATENCY: exact(1)})
    found = choose([bare, GOOD], limits=[Limit("min-speedup", SPEEDUP, 2), Limit("max-size-mb", SIZE, 50)])
    assert found.chosen is None
    assert found.reasons["bare"] == (
        "its speedup was not measured, so min-speedup cannot be checked; "
        "its size was not measured, so max-size-mb cannot be checked"
    )
    assert choose([bare, GOOD], "size").reasons["bare"] == "its size was not measured"


def test_limits_are_not_rounded():
    almost = candidate("almost", 2, quality=0.98999999)
    assert choose([almost], limits=[Limit("min-recovery", QUALITY, 0.99)]).chosen is None
    assert choose([almost], limits=[Limit("min-recovery", QUALITY, 0.98999999)]).chosen is almost


def test_cost_is_the_time_of_the_machine():
    assert choose([GOOD, FAST], "cost").chosen is choose([GOOD, FAST], "throughput").chosen is FAST


def test_what_cannot_be_told_apart():
    near, far = candidate("near", 2.05, noise=0.05), candidate("far", 3, noise=0.05)
    one = candidate("one", 2, noise=0.05)
    assert [compare(one, other, LATENCY) for other in (near, far, Candidate("none", True))] == [0, 1, 0]
    assert compare(candidate("a", 2, size=20), candidate("b", 2, size=20.2), SIZE) == 0  # 1 %
    assert dominates(one, far)
    assert not dominates(one, near)


@pytest.mark.parametrize(("axis", "value", "text"), [(LATENCY, 3.2051, "3.21 ms"), (SIZE, 1234.5, "1234 MB")])
def test_figures_as_people_read_them(axis, value, text):
    assert shown(axis, value) == text
