"""The served model: refused with one message where it cannot be served, warmed up, and guarded in a batch."""

from __future__ import annotations

import pytest

from quantbento.core.errors import InvalidInput
from quantbento.serving.answers import Failed
from quantbento.serving.errors import CannotServe
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings
from tests.conftest import labelled_texts, model_store


@pytest.fixture(scope="module")
def encoder(served_home) -> ServedModel:
    with model_store(served_home):
        return ServedModel(ServiceSettings(), "feature-extraction", "tiny-encoder-onnx-int8").load()


def test_it_is_ready_only_once_loaded(served_home):
    with model_store(served_home):
        served = ServedModel(ServiceSettings(), "feature-extraction", "tiny-encoder-onnx-int8")
        assert not served.ready
        assert served.load().ready


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("tiny-encodr-onnx-int8", "did you mean 'tiny-encoder-onnx-int8'"),
        ("tiny-classifier-torch-int8", "is a model for text-classification"),
    ],
    ids=["missing", "other task"],
)
def test_what_cannot_be_served_is_refused_before_a_worker_starts(served_home, tag, said):
    with model_store(served_home), pytest.raises(CannotServe, match=said):
        ServedModel(ServiceSettings(model=tag), "feature-extraction", "unused").preflight()


def test_a_model_that_does_not_answer_never_gets_ready(served_home, monkeypatch):
    from quantbento.runtimes.onnx import OnnxRuntime

    def broken(self, batch):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(OnnxRuntime, "run", broken)
    with model_store(served_home):
        served = ServedModel(ServiceSettings(), "feature-extraction", "tiny-encoder-onnx-int8")
        with pytest.raises(Exception, match="does not answer: RuntimeError: no such kernel"):
            served.load()
        assert not served.ready


def test_one_failing_item_leaves_the_others_their_answers(encoder, monkeypatch):
    texts, _ = labelled_texts(9, seed=5)
    alone = encoder.answers(texts)
    run = encoder.loaded.run

    def poisoned(checked):
        if texts[4] in checked:
            raise RuntimeError("poison")
        return run(checked)

    monkeypatch.setattr(encoder.loaded, "run", poisoned)
    answers = encoder.answers(texts)
    assert isinstance(answers[4], Failed)
    assert all((a == b).all() for i, (a, b) in enumerate(zip(answers, alone, strict=True)) if i != 4)


def test_a_bad_item_is_named_with_its_place(encoder):
    with pytest.raises(InvalidInput, match="item 1: must not be empty"):
        encoder.check_inputs(["fine", " "])
    assert encoder.only_check_inputs(["fine"]) == ["fine"]


def test_tokens_are_counted_with_the_special_ones(encoder):
    assert encoder.count_tokens(["the film", "good"]) == 7
