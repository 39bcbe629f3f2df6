"""Entities and their F1 are those of seqeval."""

import random

import pytest
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from quantbento.tasks.spans import entity_counts, span_f1, spans

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
IOBES = [*BIO, "E-PER", "S-PER", "E-LOC", "S-LOC"]


def sequences(tags: list[str], seed: int) -> list[list[str]]:
    """Any order of tags, also one that no annotator would write."""
    chance = random.Random(seed)
    return [chance.choices(tags, k=chance.randint(1, 12)) for _ in range(200)]


def f1(wanted, found) -> float:
    return span_f1(*map(sum, zip(*map(entity_counts, wanted, found), strict=True)))


@pytest.mark.parametrize("tags", [BIO, IOBES], ids=["BIO", "IOBES"])
def test_entities_are_those_of_seqeval(tags):
    for sequence in sequences(tags, seed=1):
        expected = {(start, last + 1, kind) for kind, start, last in get_entities(sequence)}
        assert spans(sequence) == expected, sequence


@pytest.mark.parametrize("tags", [BIO, IOBES], ids=["BIO", "IOBES"])
def test_f1_is_that_of_seqeval(tags):
    wanted = sequences(tags, seed=2)
    chance = random.Random(3)
    found = [[tag if chance.random() < 0.7 else chance.choice(tags) for tag in own] for own in wanted]
    ours = f1(list(map(spans, wanted)), list(map(spans, found)))
    assert ours == pytest.approx(f1_score(wanted, found))
    assert 0.1 < ours < 0.9


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B-A", "I-A", "L-A", "U-A"], {(0, 3, "A"), (3, 4, "A")}),
        (["NOUN", "NOUN", "VERB"], {(0, 2, "NOUN"), (2, 3, "VERB")}),
        (["B-PER-SON", "I-PER-SON"], {(0, 2, "PER-SON")}),
        (["NON-PER"], {(0, 1, "NON-PER")}),
        ([], set()),
    ],
    ids=["BILOU", "no-prefix", "two-dashes", "a-dash-and-no-prefix", "empty"],
)
def test_other_ways_to_write_tags(tags, expected):
    assert spans(tags) == expected


def test_nothing_to_find_and_nothing_found_is_right():
    assert f1([set()], [set()]) == 1
    assert f1([{(0, 1, "A")}], [set()]) == 0
    assert f1([set()], [{(0, 1, "A")}]) == 0
