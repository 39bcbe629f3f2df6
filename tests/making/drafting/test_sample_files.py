"""Columns are found by what they hold, and what cannot be told is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.making.drafting import sample_files
from quantbento.making.drafting.sample_files import look

SENTENCE = "a sentence that is longer than what stands beside it"


def write(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def columns(task: str, path: str, labels: tuple[str, ...] = (), **given: str) -> dict[str, str]:
    return look(path, registry.task(task), labels, given).spec.get("columns", {})


@pytest.mark.parametrize(
    ("task", "row", "labels", "found"),
    [
        ("text-classification", {"text": SENTENCE, "label": "no"}, ("no", "yes"), {}),
        ("text-classification", {"title": "short", "body": SENTENCE, "label": 1}, ("no", "yes"), {"text": "body"}),
        (
            "text-classification",
            {"id": "17", "sentence": SENTENCE, "answer": "yes"},
            ("no", "yes"),
            {"text": "sentence", "label": "answer"},
        ),
        (
            "text-classification",
            {"text": SENTENCE, "topics": ["good", "film"]},
            ("good", "bad", "film"),
            {"label": "topics"},
        ),
        ("feature-extraction", {"a": SENTENCE, "b": 3.5}, (), {"text": "a"}),
        (
            "text-ranking",
            {"id": 3, "question": "a question", "passage": SENTENCE, "relevance": 2},
            (),
            {"query": "question", "document": "passage", "label": "relevance"},
        ),
        ("text-ranking", {"query": "a query", "text": SENTENCE}, (), {"document": "text"}),
        (
            "token-classification",
            {"tokens": ["a", "good", "film"], "ner_tags": [0, 1, 0]},
            ("O", "B"),
            {"text": "tokens", "label": "ner_tags"},
        ),
        (
            "text-generation",
            {"id": "a", "messages": [{"role": "user", "content": SENTENCE}]},
            (),
            {"text": "messages"},
        ),
    ],
    ids=["as-they-are", "longest", "label-by-value", "several-labels", "number", "pair", "half-pair", "words", "chats"],
)
def test_columns_are_found_by_what_they_hold(tmp_path, task, row, labels, found):
    assert columns(task, write(tmp_path, row), labels) == found


def test_what_the_user_says_of_columns_wins(tmp_path):
    path = write(tmp_path, {"review": SENTENCE, "title": "short", "stars": 1})
    assert columns("text-classification", path, ("no", "yes"), text="title") == {"text": "title", "label": "stars"}
    with pytest.raises(QuantbentoError, match="has no column 'titel'; did you mean 'title'"):
        columns("text-classification", path, text="titel")


def test_columns_that_cannot_be_told_are_asked_for(tmp_path):
    path = write(tmp_path, {"a": SENTENCE, "b": SENTENCE, "c": SENTENCE})
    with pytest.raises(
        QuantbentoError, match=r"which of them hold query, document cannot be told; add --columns query="
    ):
        columns("text-ranking", path)
    assert columns("text-ranking", path, query="b", document="a") == {"query": "b", "document": "a"}


def test_a_column_of_other_values_is_no_label(tmp_path):
    path = write(tmp_path, {"text": SENTENCE, "class": "a"}, {"text": SENTENCE, "class": "b"})
    assert columns("text-classification", path, ("no", "yes")) == {}


def test_a_csv_and_plain_text_are_counted(tmp_path):
    csv = tmp_path / "rows.csv"
    csv.write_text(f'sentence,when\n"{SENTENCE}",2024\n"{SENTENCE}",2025\n')
    found = look(str(csv), registry.task("feature-extraction"), (), {})
    assert found.spec == {"path": csv, "columns": {"text": "sentence"}, "count": 2}
    text = tmp_path / "lines.txt"
    text.write_text("one\ntwo\nthree\n")
    assert look(str(text), registry.task("feature-extraction"), (), {}).spec == {"path": text, "count": 3}


def test_a_large_file_is_cut_and_a_language_models_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_files, "MOST", 2)
    text = tmp_path / "lines.txt"
    text.write_text("one\ntwo\nthree\n")
    found = look(str(text), registry.task("feature-extraction"), (), {})
    assert (found.spec["count"], found.total) == (2, 3)
    assert look(str(text), registry.task("text-generation"), (), {}).spec == {"path": text}


def test_the_array_that_holds_labels_is_found(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, x=np.zeros((4, 2)), target=np.asarray([0, 1, 0, 1]))
    found = look(str(path), registry.task("tensor"), (), {})
    assert found.spec == {"path": path, "label": "target", "count": 4}
    assert found.samples.labels == [0, 1, 0, 1]


def test_a_function_gives_samples_too():
    found = look("tests.tiny_tensor:samples", registry.task("tensor"), (), {})
    assert (found.spec, found.total) == ({"factory": "tests.tiny_tensor:samples"}, 16)


def test_labels_that_are_the_models_numbers_need_no_names(tmp_path):
    path = write(tmp_path, {"text": SENTENCE, "label": "1"}, {"text": SENTENCE, "label": 0})
    assert look(path, registry.task("text-classification"), ("LABEL_0", "LABEL_1"), {}).samples.labels == ["1", 0]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("gone.jsonl", None, r"no such file or folder: .*gone\.jsonl; did you mean '.*one\.jsonl'"),
        ("rows.jsonl", "[1]\n", "must hold one JSON object a line"),
        ("rows.jsonl", "{", "cannot be read: "),
        ("rows.parquet", "x", "must end with"),
        ("arrays.npz", "x", r"cannot be read as \.npz"),
    ],
    ids=["gone", "no-objects", "no-json", "other-kind", "no-arrays"],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, name, content, told):
    (tmp_path / "one.jsonl").touch()
    if content is not None:
        (tmp_path / name).write_text(content)
    task = "tensor" if name.endswith("npz") else "feature-extraction"
    with pytest.raises(QuantbentoError, match=told):
        look(str(tmp_path / name), registry.task(task), (), {})
