"""Answers are equal with and without the cache, and its memory is bounded."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import prometheus_client
import pytest

from quantbento.serving.answers import Failed
from quantbento.serving.cache import ResponseCache
from quantbento.serving.live import LiveModel
from quantbento.serving.settings import ServiceSettings
from tests.conftest import labelled_texts, model_store


class Model:
    """Answers with the length of a text, and keeps what it was asked."""

    def __init__(self, answer=len) -> None:
        self.asked: list = []
        self.answer = answer

    async def compute(self, items):
        self.asked += items
        return [self.answer(item) for item in items]


def cache(items: int = 10, most_bytes: int = 10**6, digest: str = "d", tag: str = "demo:1") -> ResponseCache:
    return ResponseCache(items, most_bytes, digest, tag)


def ask(kept: ResponseCache, model: Model, *items) -> list:
    return asyncio.run(kept.answers(items, model.compute))


def test_only_what_is_not_there_is_computed():
    kept, model = cache(), Model()
    assert ask(kept, model, "a", "bb") == [1, 2]
    assert ask(kept, model, "ccc", "bb", "a", "dddd") == [3, 2, 1, 4]
    assert model.asked == ["a", "bb", "ccc", "dddd"]
    assert ask(kept, model, "a") == [1]


def test_hits_and_misses_are_counted():
    def counted(name):
        return prometheus_client.REGISTRY.get_sample_value(f"quantbento_cache_{name}_total", {"model": "counted:1"})

    kept, model = cache(tag="counted:1"), Model()
    ask(kept, model, "a", "b")
    ask(kept, model, "a", "c")
    assert (counted("hits"), counted("misses")) == (1, 3)


def test_the_least_recently_used_goes_first():
    kept, model = cache(items=2), Model()
    ask(kept, model, "a", "b")
    ask(kept, model, "a")
    ask(kept, model, "c")
    model.asked.clear()
    ask(kept, model, "a", "c", "b")
    assert model.asked == ["b"]
    assert len(kept) == 2


def test_it_is_bounded_in_bytes():
    kept, model = cache(items=10**6, most_bytes=100_000), Model(lambda item: np.zeros(1000, np.float32))
    for number in range(200):
        ask(kept, model, str(number))
        assert kept.bytes <= 100_000
    assert 15 <= len(kept) <= 25
    huge = Model(lambda item: np.zeros(10**6, np.float32))
    ask(kept, huge, "huge")
    ask(kept, huge, "huge")
    assert huge.asked == ["huge", "huge"]
    assert len(kept) >= 15


def test_a_kept_row_does_not_keep_its_batch():
    batch = np.zeros((100, 100), np.float32)
    kept = cache()
    ask(kept, Model(lambda item: batch[0]), "a")
    [(row, size)] = kept._entries.values()
    assert row.base is None
    assert size < 1000


def test_failed_answers_are_asked_for_again():
    kept, model = cache(), Model(lambda item: Failed(RuntimeError()))
    for _ in range(2):
        assert isinstance(ask(kept, model, "a")[0], Failed)
    assert model.asked == ["a", "a"]
    assert len(kept) == 0


def test_who_changes_an_answer_changes_nobody_elses():
    kept, model = cache(), Model(lambda item: {"scores": np.ones(2), "labels": ["x"]})
    for _ in range(3):
        [answer] = ask(kept, model, "a")
        assert (answer["scores"].tolist(), answer["labels"]) == ([1, 1], ["x"])
        answer["scores"][:] = 7
        answer["labels"].append("y")


DIFFERENT = [
    "1",
    b"1",
    1,
    1.0,
    True,
    None,
    "",
    [],
    ["1"],
    ["1", ""],
    ["", "1"],
    [["1"]],
    {},
    {"a": "1"},
    {"a": "1", "b": ""},
    np.zeros(4, np.float32),
    np.zeros(2, np.float64),
    np.zeros((2, 2), np.float32),
    np.zeros(4, np.int32),
    np.float32(0),
    np.zeros((0, 3), np.float32),
    np.zeros((3, 0), np.float32),
    {"a": np.zeros(2)},
    {"a": np.ones(2)},
    -0.0,
    0.0,
]


def test_different_items_have_different_keys():
    kept = cache()
    for (one, first), (two, second) in itertools.combinations(enumerate(DIFFERENT), 2):
        assert kept._key(first) != kept._key(second), (one, two)
    assert kept._key({"a": 1, "b": 2}) == kept._key({"b": 2, "a": 1})
    array = np.arange(6).reshape(2, 3)
    assert kept._key(array) == kept._key(np.asfortranarray(array))


def test_another_model_has_other_keys():
    assert cache(digest="one")._key("a") != cache(digest="two")._key("a")


@pytest.mark.parametrize("item", [object(), np.array([object()])], ids=["object", "array of objects"])
def test_what_has_no_bytes_is_computed_each_time(item):
    kept, model = cache(), Model(lambda item: 1)
    ask(kept, model, item)
    ask(kept, model, item)
    assert len(model.asked) == 2


def test_an_answer_of_another_type_is_not_kept():
    kept, model = cache(), Model(lambda item: object())
    ask(kept, model, "a")
    assert len(kept) == 0


def test_a_models_answers_are_equal_with_and_without(served_home):
    from quantbento import store

    texts, _ = labelled_texts(12, seed=7)
    with model_store(served_home):
        stored = store.find("tiny-encoder-onnx-int8")
        plain, cached = (LiveModel.load(stored, ServiceSettings(cache_items=items)) for items in (0, 8))
    expected = asyncio.run(plain.answers(texts))

    async def several() -> list[list]:
        return [await cached.answers(texts[:6]), await cached.answers(texts), await cached.answers(texts)]

    first, second, third = asyncio.run(several())
    for answers in (second, third):
        assert all((a == b).all() for a, b in zip(answers, expected, strict=True))
    assert all((a == b).all() for a, b in zip(first, expected, strict=False))
    for live in (plain, cached):
        live.close()
