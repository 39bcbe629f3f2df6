"""Batches are sorted by length, padded little, never larger than allowed, and share the work among the threads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbento.runtimes.chunks import BATCH, chunks_of

LENGTHS = st.lists(st.integers(0, 512), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 64), st.integers(1, 8))
def test_every_input_is_in_one_batch_whose_first_is_the_longest(lengths, most, parallel):
    batches = chunks_of(lengths, most, parallel)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= most for batch in batches)
    for batch in batches:
        assert [lengths[i] for i in batch] == sorted((lengths[i] for i in batch), reverse=True)


@given(LENGTHS, st.integers(1, 64), st.integers(1, 8))
def test_a_batch_costs_less_than_its_inputs_one_by_one(lengths, most, parallel):
    for batch in chunks_of(lengths, most, parallel):
        padding = sum(max(lengths[batch[0]], 1) - max(lengths[i], 1) for i in batch)
        assert padding <= BATCH


@given(LENGTHS, st.integers(1, 64), st.integers(2, 8))
def test_no_batch_is_more_than_a_thread_s_share(lengths, most, parallel):
    batches = chunks_of(lengths, most, parallel)
    work = [len(batch) * max(lengths[batch[0]], 1) for batch in batches]
    share = sum(max(length, 1) for length in lengths) / parallel
    assert all(tokens <= share for tokens, batch in zip(work, batches, strict=True) if len(batch) > 1)
    assert work == sorted(work, reverse=True)  # so that what runs last is short


@pytest.mark.parametrize(
    ("lengths", "most", "parallel", "sizes"),
    [
        ([7] * 8, 8, 1, [8]),
        ([7] * 8, 8, 2, [4, 4]),
        ([7] * 24, 8, 2, [6, 6, 6, 6]),
        ([7], 8, 2, [1]),
        ([0] * 65, 64, 1, [64, 1]),
        ([100, 10, 10, 10, 10, 10, 10], 8, 2, [1, 6]),
        ([100, 90, 10, 10], 8, 2, [1, 1, 2]),
        ([40, 30, 24, 7], 8, 1, [2, 1, 1]),
        ([12, 10, 8, 6], 8, 1, [4]),
    ],
    ids=["one-thread", "two", "rounds", "single", "alike", "one-long", "two-long", "apart", "near"],
)
def test_batches_hold_inputs_of_about_one_length(lengths, most, parallel, sizes):
    assert [len(batch) for batch in chunks_of(lengths, most, parallel)] == sizes


def test_equal_inputs_keep_their_order():
    assert chunks_of([0, 0, 0], 2, 1) == [[0, 1], [2]]
