"""A candidate is asked after the client has its answer, and only compared."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import prometheus_client

from quantbento.serving.answers import Failed
from quantbento.serving.versions import shadow
from quantbento.serving.versions.shadow import Shadow


class Candidate:
    """Answers numbers with something larger."""

    def __init__(self, tag: str, error: Exception | None = None) -> None:
        self.tag, self.error, self.asked = tag, error, 0
        self.loaded = SimpleNamespace(check=list)

    async def apart(self, checked, seconds):
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        return [Failed(ValueError()) if item == 13 else 1.1 * item for item in checked]


def value(name: str, candidate: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(
        f"quantbento_shadow_{name}", {"model": "m:1", "candidate": candidate}
    )


def compared(candidate: Candidate, *requests: list[float]) -> None:
    async def run():
        runs = Shadow(candidate, "m:1")
        for inputs in requests:
            runs.compare(inputs, list(inputs))
        assert not candidate.asked  # nobody waits for it
        await runs.finish()

    asyncio.run(run())


def test_distances_are_counted():
    compared(Candidate("m:2"), [1.0, 2.0], [3.0])
    assert value("distance_count", "m:2") == 3
    assert abs(value("distance_sum", "m:2") - 0.3) < 1e-6
    assert value("failed_total", "m:2") == 0


def test_items_the_candidate_fails_on_are_counted():
    compared(Candidate("m:3"), [1.0, 13])
    assert (value("distance_count", "m:3"), value("failed_total", "m:3")) == (1, 1)


def test_a_candidate_that_is_broken_harms_nobody():
    compared(Candidate("m:4", RuntimeError("broken")), [1.0, 2.0])
    assert (value("distance_count", "m:4"), value("failed_total", "m:4")) == (0, 2)


def test_what_is_too_much_is_not_compared():
    candidate = Candidate("m:5")
    compared(candidate, *[[1.0]] * (shadow.MOST + 5))
    assert candidate.asked == shadow.MOST
    assert value("skipped_total", "m:5") == 5
