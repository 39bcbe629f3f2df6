"""Every ONNX file in packages of others ends at a stored variant, or at a sentence that says why not."""

from __future__ import annotations

import pytest

from benchmarks.onnx_files import onnx_files, quantize
from quantbento import store
from tests.wheels import download

PACKAGES = ["rapidocr-onnxruntime==1.4.4", "rapidocr==3.10.0", "magika==1.0.3", "silero-vad==6.2.3"]
STORED = {
    "model.onnx",  # Magika: int32 tokens
    "PP-OCRv6_rec_small.onnx",
    "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "ch_PP-OCRv4_rec_infer.onnx",
    "ch_ppocr_mobile_v2.0_cls_infer.onnx",
}
FILES = 13


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    return download(tmp_path_factory.mktemp("wheels"), *PACKAGES)


@pytest.mark.network
@pytest.mark.slow
def test_every_file_is_stored_or_told_why_not(wheels, tmp_path, bento_home):
    outcomes = [quantize(path, tmp_path, rounds=3) for path in onnx_files([wheels], tmp_path)]
    assert len(outcomes) == FILES
    assert {outcome.name for outcome in outcomes if outcome.row} == STORED
    for outcome in outcomes:
        if outcome.row:
            assert store.find(outcome.row.tag).verify()["variant"]["passed"]
            assert outcome.row.metrics["sqnr_db"] > 25, outcome
        else:
            assert outcome.error.startswith("onnx-dynamic would quantize nothing: "), outcome
            assert "Conv" in outcome.error, "says which operators there are"
