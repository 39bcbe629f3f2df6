"""A loaded model as a batcher runs it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quantbento.serving.answers import Failed
from quantbento.serving.batches import CHUNKS, limits_of, run_isolated
from quantbento.serving.settings import ServiceSettings


@pytest.mark.parametrize(("parallel", "most", "items"), [(2, 64, 8 * CHUNKS), (2, 4, 4), (1, 64, 64)])
def test_a_batch_is_some_chunks_or_as_large_as_allowed(parallel, most, items):
    loaded = SimpleNamespace(parallel=parallel, task=SimpleNamespace(chunk_items=8))
    settings = ServiceSettings(max_batch_size=most, max_latency_ms=500, max_queue_items=7)
    limits = limits_of(settings, loaded)
    assert (limits.batch_items, limits.queue_items, limits.wait_seconds) == (items, 7, 0.5)


def test_items_that_fail_stand_alone():
    asked = []

    def run(items):
        asked.append(list(items))
        if any(item in (3, 6) for item in items):
            raise ValueError("odd")
        return [2 * item for item in items]

    answers = run_isolated(run, list(range(8)))
    assert [a for a in answers if not isinstance(a, Failed)] == [0, 2, 4, 8, 10, 14]
    assert [index for index, a in enumerate(answers) if isinstance(a, Failed)] == [3, 6]
    assert str(answers[3].error) == "odd"
    assert len(asked) < 14
