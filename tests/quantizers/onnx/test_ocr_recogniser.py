"""A convolutional ONNX file of others, a recogniser for OCR, is stored in INT8 and still reads what is written."""

from __future__ import annotations

import math

import pytest

from benchmarks.ocr_recogniser import MAX_DROP, save
from examples import text_lines
from examples.line_reading import edits
from quantbento import store
from tests.wheels import download

LINES = 192  # half a point of fewer would be a character or two


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    return download(tmp_path_factory.mktemp("wheels"), "rapidocr-onnxruntime==1.4.4")


@pytest.mark.network
@pytest.mark.slow
def test_both_runtimes_store_a_recogniser_that_reads_as_well(wheels, tmp_path, bento_home):
    names = ["onnx-static-part", "openvino-part"]
    report = save([wheels], tmp_path, names, lines=LINES, noise=text_lines.NOISE, rounds=3)
    accuracy = report.baseline.metrics["character_accuracy"]
    assert accuracy > 0.98
    pictures, texts = text_lines.held_out(LINES)
    for row, ops in zip(report.variants, ["QLinearConv", "Convolution"], strict=True):
        assert row.quantized["counts"][ops] > 15, row
        assert row.metrics["character_accuracy"] >= accuracy - MAX_DROP, row
        assert 10 < row.metrics["sqnr_db"] < 100, row
        assert math.isfinite(row.metrics["agreement"]), row
        stored = store.find(row.tag)
        assert stored.verify()["variant"]["passed"]
        read = store.load(row.tag)(list(pictures[:8]))
        wrong = sum(edits(*(text.replace(" ", "") for text in pair)) for pair in zip(texts, read, strict=False))
        assert wrong <= 2, read


@pytest.mark.parametrize(("text", "other", "number"), [("", "ab", 2), ("same", "same", 0), ("kitten", "sitting", 3)])
def test_edits_are_insertions_deletions_and_replacements(text, other, number):
    assert edits(text, other) == edits(other, text) == number
