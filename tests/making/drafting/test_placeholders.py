"""Samples that stand in for a user's: readable for the task, different for calibration, the same every time."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.samples import load_samples
from quantbento.making.drafting import placeholders
from quantbento.recipe import Samples
from quantbento.tasks.base import Task


@pytest.mark.parametrize("name", ["text-classification", "text-ranking"])
def test_rows_are_prose_in_the_columns_of_the_task(name, tmp_path):
    task = registry.task(name)
    rows = placeholders.rows(task, 0)
    assert rows == placeholders.rows(task, 0)
    assert len(rows) == placeholders.ROWS
    assert all(set(row) == set(task.fields) for row in rows)
    texts = {text for row in rows for text in row.values()}
    assert len(texts) == placeholders.ROWS * len(task.fields)
    assert all(text[0].isupper() and len(text.split()) >= 8 for text in texts)
    assert texts.isdisjoint(text for row in placeholders.rows(task, 1) for text in row.values())
    placeholders.write_rows(rows, tmp_path / "rows.jsonl")
    read = load_samples(Samples(path=tmp_path / "rows.jsonl"), task.fields)
    assert len(read.inputs) == placeholders.ROWS
    assert read.labels is None


def test_joined_texts_go_on_until_there_are_enough():
    task = registry.task("text-generation")
    rows = placeholders.rows(task, 0, lambda texts: sum(map(len, texts)) > 50_000)
    assert sum(len(row["text"]) for row in rows) > 50_000
    assert sum(len(row["text"]) for row in rows[:-1]) <= 50_000
    with pytest.raises(QuantbentoError, match="not enough made-up text for this model; name your own"):
        placeholders.rows(task, 0, lambda texts: False)


def test_images_are_read_as_images(tmp_path):
    from PIL import Image

    task = registry.task("image-classification")
    for half in (0, 1):
        placeholders.write_files(task, tmp_path / str(half), half)
    files = load_samples(Samples(path=tmp_path / "0"), task.fields, task.suffixes).inputs
    assert len(files) == placeholders.FILES
    pixels = [np.asarray(Image.open(file)) for file in files]
    assert {array.shape for array in pixels} == {(64, 64, 3)}
    assert len({array.tobytes() for array in pixels}) == placeholders.FILES
    other = np.asarray(Image.open(tmp_path / "1" / files[0].name))
    assert not np.array_equal(pixels[0], other)


def test_sounds_are_read_as_sounds(tmp_path):
    class Sounds(registry.task("image-classification")):
        suffixes = (".wav",)

    placeholders.write_files(Sounds, tmp_path / "sounds", 0)
    with wave.open(str(tmp_path / "sounds" / "00.wav")) as file:
        assert (file.getframerate(), file.getnframes(), file.getnchannels()) == (16_000, 16_000, 1)
        assert np.ptp(np.frombuffer(file.readframes(16_000), np.int16)) > 20_000


def test_other_files_are_asked_for(tmp_path):
    class Films(registry.task("image-classification")):
        name = "films"
        suffixes = (".mp4",)

    with pytest.raises(QuantbentoError, match="samples for films cannot be made up; name your own with --evaluation"):
        placeholders.write_files(Films, tmp_path / "films", 0)


def test_arrays_are_one_per_input(tmp_path):
    task: type[Task] = registry.task("tensor")
    items = [{"x": np.full(3, i, np.float32), "n": np.asarray(i)} for i in range(4)]
    placeholders.write_arrays(items, tmp_path / "arrays.npz")
    read = load_samples(Samples(path=tmp_path / "arrays.npz"), task.fields).inputs
    assert [item["n"].item() for item in read] == [0, 1, 2, 3]
    assert read[2]["x"].tolist() == [2, 2, 2]
