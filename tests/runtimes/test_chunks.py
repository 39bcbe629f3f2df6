"""Batches are sorted by length, padded little, never larger than allowed, and share the work among the threads."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantbento.runtimes.chunks import chunks_of


@example([0, 1], 1, 1)
@given(st.lists(st.integers(0, 512), min_size=1, max_size=200), st.integers(1, 64), st.integers(1, 8))
def test_every_input_is_in_one_batch_the_longest_first(lengths, most, parallel):
    batches = chunks_of(lengths, most, parallel)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)
    assert all(1 <= len(batch) <= most for batch in batches)


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 8))
def test_no_thread_is_left_without_work(count, most, parallel):
    batches = chunks_of([0] * count, most, parallel)
    assert len(batches) % parallel == 0 or len(batches) == count


@pytest.mark.parametrize(
    ("lengths", "most", "parallel", "sizes"),
    [
        ([7] * 8, 8, 1, [8]),
        ([7] * 8, 8, 2, [4, 4]),
        ([7] * 17, 8, 2, [5, 4, 4, 4]),
        ([7], 8, 2, [1]),
        ([100, 10, 10, 10, 10, 10, 10], 8, 2, [1, 6]),
        ([30, 29, 28, 27], 8, 2, [2, 2]),
        ([200] + [10] * 7, 8, 1, [1, 7]),
        ([12, 10, 8, 6], 8, 1, [4]),
        ([0] * 65, 64, 1, [33, 32]),
    ],
    ids=["one-thread", "two", "rounds", "single", "one-long", "near", "padding", "little-padding", "alike"],
)
def test_batches_have_about_equal_work_and_little_padding(lengths, most, parallel, sizes):
    assert [len(batch) for batch in chunks_of(lengths, most, parallel)] == sizes


def test_equal_inputs_keep_their_order():
    assert chunks_of([0, 0, 0], 2, 1) == [[0, 1], [2]]
