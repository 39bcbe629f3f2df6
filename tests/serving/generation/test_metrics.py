"""A model in the process tells how long texts take and how many tokens it made, without touching them."""

from __future__ import annotations

import time

import prometheus_client

from quantbento.runtimes.language_model import Generated
from quantbento.serving.generation.metrics import GenerationMetrics, Watched


def value(name: str, model: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(f"quantbento_{name}", {"model": model})


def test_the_first_piece_and_the_end_are_timed_and_tokens_counted():
    told: list = []
    watched = Watched(GenerationMetrics("one:1"), lambda *event: told.append(event))
    time.sleep(0.05)
    events = [(0, "", None), (0, "a", None), (0, "b", None), (0, "", "stop"), (1, "c", "length")]
    for event in events[:2]:
        watched.tell(*event)
    time.sleep(0.05)
    for event in events[2:]:
        watched.tell(*event)
    watched.done([Generated("ab", [1, 2, 3], "stop"), Generated("c", [4], "length")])
    assert told == events
    assert value("time_to_first_token_seconds_count", "one:1") == value("generation_seconds_count", "one:1") == 1
    first, whole = (value(f"{name}_sum", "one:1") for name in ("time_to_first_token_seconds", "generation_seconds"))
    assert 0.05 <= first < whole - 0.04
    assert value("generated_tokens_total", "one:1") == 4


def test_a_text_without_pieces_has_no_first_one():
    watched = Watched(GenerationMetrics("none:1"), lambda *event: None)
    watched.tell(0, "", "stop")
    watched.done([Generated("", [2], "stop")])
    assert value("time_to_first_token_seconds_count", "none:1") == 0
    assert value("generated_tokens_total", "none:1") == 1
