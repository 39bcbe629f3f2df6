"""Labels and scores equal those of the Transformers pipeline, for one label per text and for several."""

import json
import shutil

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.recipe import ModelSpec
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text_classification import TextClassification, TextClassificationOptions
from tests.conftest import labelled_texts
from tests.jobs import load_source

TEXTS = labelled_texts(30, seed=4)[0]


@pytest.fixture(scope="module")
def module(tiny_classifier):
    return load_source(ModelSpec(path=tiny_classifier), "text-classification").module


@pytest.fixture
def multi_label(tiny_classifier, tmp_path):
    folder = shutil.copytree(tiny_classifier, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    return folder


def task_of(module, folder, sample_labels=None, **options):
    samples = SampleSet(TEXTS[:2], sample_labels)
    return TextClassification.create(SourceModel(module, folder), TextClassificationOptions(**options), samples)


def answers(module, task):
    return Predictor(task, TorchRuntime(module, None, ["logits"]), {})(TEXTS)


def check_against_pipeline(found, folder):
    from transformers import pipeline

    expected = pipeline("text-classification", model=str(folder))(TEXTS)
    assert [a["label"] for a in found] == [a["label"] for a in expected]
    np.testing.assert_allclose([a["score"] for a in found], [a["score"] for a in expected], atol=1e-5)


def test_answers_equal_the_pipeline(module, tiny_classifier):
    found = answers(module, task_of(module, tiny_classifier))
    check_against_pipeline(found, tiny_classifier)
    assert {a["label"] for a in found} == {"negative", "positive"}


def test_multi_label_answers_equal_the_pipeline(module, multi_label, tiny_classifier):
    found = answers(module, task_of(module, multi_label))
    check_against_pipeline(found, multi_label)
    assert found != answers(module, task_of(module, tiny_classifier))


def test_labels_of_the_recipe_replace_the_model_s(module, tiny_classifier):
    own = answers(module, task_of(module, tiny_classifier))
    renamed = answers(module, task_of(module, tiny_classifier, labels=["thumbs down", "thumbs up"]))
    names = {"negative": "thumbs down", "positive": "thumbs up"}
    assert renamed == [{"label": names[a["label"]], "score": a["score"]} for a in own]


def test_too_few_labels_are_refused(module, tiny_classifier):
    with pytest.raises(QuantbentoError, match=r"task_options\.labels has 1 names; the model has 2"):
        task_of(module, tiny_classifier, labels=["good"])


def test_a_regression_model_is_refused(tiny_classifier):
    from transformers import BertConfig, BertForSequenceClassification

    tiny = BertConfig(num_labels=1, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(QuantbentoError, match=r"is a regression model \(one label\)"):
        task_of(BertForSequenceClassification(tiny), tiny_classifier)


def test_a_sample_label_the_model_lacks_is_refused(module, tiny_classifier):
    with pytest.raises(QuantbentoError, match=r"\['neutral'\] are none of the model's: 'negative' or 'positive'"):
        task_of(module, tiny_classifier, sample_labels=["positive", "neutral"])


def test_accuracy_takes_label_names_and_indices(module, tiny_classifier):
    task = task_of(module, tiny_classifier)
    baseline = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=np.float32)}
    variant = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)}
    expected = pytest.approx({"agreement": 2 / 3, "accuracy": 2 / 3, "max_probability_difference": 0.2})
    assert task.compare(baseline, variant, ["negative", "positive", "negative"]) == expected
    assert task.compare(baseline, variant, [0, 1, 0]) == expected
    assert "accuracy" not in task.compare(baseline, variant, None)


def test_a_saved_task_reads_back_the_same(module, multi_label, tmp_path):
    task = task_of(module, multi_label)
    (tmp_path / "artifact").mkdir()
    again = TextClassification.load(tmp_path / "artifact", json.loads(json.dumps(task.save(tmp_path / "artifact"))))
    assert answers(module, again) == answers(module, task)


def test_large_logits_do_not_overflow(module, tiny_classifier):
    task = task_of(module, tiny_classifier)
    rows = task.postprocess({"logits": np.array([[1000.0, 0.0]], dtype=np.float32)}, {})
    assert task.answers(rows, ["a text"]) == [{"label": "negative", "score": 1.0}]
