"""The inputs that models are tried on beside their samples."""

from __future__ import annotations

import numpy as np

from quantbento.tasks import difficult
from tests.jobs import numbers


def test_the_texts_are_what_they_are_called():
    assert difficult.TEXTS["empty"] == [""]
    assert len(difficult.TEXTS["very long"][0]) > 20_000
    assert any("\N{ZERO WIDTH JOINER}" in text for text in difficult.TEXTS["emoji"])
    assert any("\N{RIGHT-TO-LEFT OVERRIDE}" in text for text in difficult.TEXTS["right to left"])
    assert any("\0" in text for text in difficult.TEXTS["control characters"])
    assert not any(character.isalnum() for character in difficult.TEXTS["symbols"][0])
    for texts in difficult.TEXTS.values():
        for text in texts:
            text.encode("utf-8")  # services take no lone surrogate


def test_images_keep_their_shape_and_change():
    image = np.zeros((8, 6, 3), np.uint8)
    image[:, 3:] = 200
    changed = difficult.images([image, image])
    assert {kind: len(items) for kind, items in changed.items()} == {"noise": 2, "blur": 2, "black": 1, "white": 1}
    assert all(i.shape == image.shape and i.dtype == np.uint8 for items in changed.values() for i in items)
    blurred = changed["blur"][0]
    assert (blurred[:, 0] == 0).all()
    assert (blurred[:, 5] == 200).all()
    assert (np.diff(blurred[4, :, 0].astype(int)) >= 0).all()
    assert 0 < blurred[4, 2, 0] < blurred[4, 3, 0] < 200
    assert 15 < changed["noise"][0][:, 3:].astype(float).std() < 35
    assert (difficult.images([image])["noise"][0] == changed["noise"][0]).all(), "the same in every run"


def test_arrays_of_floats_change_and_others_stay():
    item = {"x": numbers(4, 3), "ids": np.arange(4)}
    changed = difficult.arrays([item])
    assert all((items[0]["ids"] == item["ids"]).all() for items in changed.values())
    assert all(items[0]["x"].dtype == np.float32 for items in changed.values())
    assert not changed["zeros"][0]["x"].any()
    assert np.allclose(changed["ten times as large"][0]["x"], 10 * item["x"])
    assert 0 < np.abs(changed["noise"][0]["x"] - item["x"]).max() < item["x"].std()
    assert difficult.arrays([{"ids": np.arange(4)}]) == {}
