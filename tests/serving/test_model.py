"""The served model: refused with one message where it cannot be served, warmed up, and guarded in a batch."""

from __future__ import annotations

import asyncio

import pytest

from quantbento.core.errors import InvalidInput
from quantbento.serving.answers import Failed
from quantbento.serving.errors import CannotServe, ItemFailed
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings
from tests.conftest import labelled_texts, model_store

TINY = "tiny-encoder-onnx-int8"


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
    alone = encoder.loaded.answers(texts)
    run = encoder.loaded.run

    def poisoned(checked, here=False):
        if texts[4] in checked:
            raise RuntimeError("poison")
        return run(checked, here)

    monkeypatch.setattr(encoder.loaded, "run", poisoned)
    answers = asyncio.run(encoder.answers(texts))
    assert isinstance(answers[4], Failed)
    assert all((a == b).all() for i, (a, b) in enumerate(zip(answers, alone, strict=True)) if i != 4)
    with pytest.raises(ItemFailed, match="item 4: the model failed on it: RuntimeError: poison"):
        asyncio.run(encoder.every_answer(texts))


def test_bentomls_own_batches_give_the_same_answers(served_home):
    texts, _ = labelled_texts(20, seed=6)
    with model_store(served_home):
        served = {
            batching: ServedModel(ServiceSettings(batching=batching), "feature-extraction", TINY).load()
            for batching in ("quantbento", "bentoml")
        }
    own, bentomls = (asyncio.run(s.answers(texts)) for s in served.values())
    assert all((a == b).all() for a, b in zip(own, bentomls, strict=True))
    assert [bool(s.settings.batched()) for s in served.values()] == [False, True]


def test_a_bad_item_is_named_with_its_place(encoder):
    with pytest.raises(InvalidInput, match="item 1: must not be empty"):
        encoder.check_inputs(["fine", " "])


def test_tokens_are_counted_with_the_special_ones(encoder):
    assert encoder.count_tokens(["the film", "good"]) == 7
