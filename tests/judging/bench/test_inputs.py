"""Made-up inputs have the length that is asked for, by the model's own tokenizer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench.inputs import has_lengths, longest, made
from quantbento.tasks.feature_extraction import FeatureExtraction
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.text import TextInputs
from quantbento.tasks.text_ranking import TextRanking


@pytest.fixture(scope="module")
def text(tiny_encoder) -> TextInputs:
    json = (tiny_encoder / "tokenizer.json").read_text(encoding="utf-8")
    return TextInputs(json, ["input_ids", "attention_mask"], pad_id=0, max_length=32)


def task_of(kind: type, text: TextInputs):
    """A task with its tokenizer and nothing else."""
    task = kind.__new__(kind)
    task.text = text
    return task


@pytest.mark.parametrize("length", [3, 8, 31, 32])
def test_texts_have_as_many_tokens(text, length):
    task = task_of(FeatureExtraction, text)
    items = made(task, 4, length)
    assert [task.length(task.encode(item)) for item in items] == [length] * 4
    assert length == 3 or len(set(items)) == 4


@pytest.mark.parametrize("length", [5, 20, 32])
def test_pairs_have_as_many_tokens(text, length):
    task = task_of(TextRanking, text)
    [item] = made(task, 1, length)
    assert set(item) == {"query", "document"}
    assert task.length(task.encode(item)) == length


@pytest.mark.parametrize("length", [2, 33])
def test_a_length_that_no_text_has(text, length):
    with pytest.raises(QuantbentoError, match=f"length {length}: allowed are 3 to 32 tokens"):
        made(task_of(FeatureExtraction, text), 1, length)


def test_words_of_the_users_own(text):
    [item] = made(task_of(FeatureExtraction, text), 1, 6, ["lovely film", "dull plot"])
    assert set(item.split()) <= {"lovely", "film", "dull", "plot"}


def test_arrays_with_free_axes_and_without():
    free = SimpleNamespace(contract="arrays", inputs=[Input("x", "float32", (None, 3), (5, 3))])
    fixed = SimpleNamespace(contract="arrays", inputs=[Input("x", "float32", (4,), (4,))], examples=lambda: ["item"])
    assert has_lengths(free)
    assert not has_lengths(fixed)
    assert longest(fixed) is None
    assert [item["x"].shape for item in made(free, 2, 7)] == [(7, 3)] * 2
    assert made(fixed, 3, None) == ["item"] * 3
