"""Labels and scores equal those of the Transformers pipeline, for one label per text, for several, and for numbers."""

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
from quantbento.tasks.text_ranking import TextRanking
from tests.conftest import labelled_texts
from tests.jobs import load_source

TEXTS = labelled_texts(30, seed=4)[0]
SEVERAL = {"problem_type": "multi_label_classification", "threshold": 0.02}


@pytest.fixture(scope="module")
def module(tiny_classifier):
    return load_source(ModelSpec(path=tiny_classifier), "text-classification").module


@pytest.fixture
def multi_label(tiny_classifier, tmp_path):
    folder = shutil.copytree(tiny_classifier, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    return folder


def write_random(like, folder, labels, **settings):
    """A classifier with random weights and the tokenizer of another."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    shutil.copytree(like, folder)
    torch.manual_seed(0)
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    config = BertConfig.from_pretrained(like, **names, **{"problem_type": None, **settings})
    BertForSequenceClassification(config).save_pretrained(folder)
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


@pytest.mark.parametrize(("threshold", "counts"), [(None, {1}), (0.02, {2}), (1.0, {0})])
def test_multi_label_answers_are_those_of_the_pipeline_above_the_threshold(multi_label, threshold, counts):
    from transformers import pipeline

    module = load_source(ModelSpec(path=multi_label), "text-classification").module
    found = answers(module, task_of(module, multi_label, threshold=threshold))
    every = pipeline("text-classification", model=str(multi_label), top_k=None)(TEXTS)
    least = 0.5 if threshold is None else threshold
    expected = [[label for label in labels if label["score"] >= least] for labels in every]
    assert [[a["label"] for a in own] for own in found] == [[a["label"] for a in own] for own in expected]
    scores = [[a["score"] for own in answered for a in own] for answered in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert {len(own) for own in found} == counts


def test_a_problem_type_of_the_recipe_wins(module, tiny_classifier):
    chosen = answers(module, task_of(module, tiny_classifier, problem_type="multi_label_classification"))
    assert all(isinstance(answer, list) for answer in chosen)
    assert chosen != answers(module, task_of(module, tiny_classifier))


@pytest.mark.parametrize("labels", [["grade"], ["grade", "length"]], ids=["one", "two"])
def test_a_regressions_answers_are_the_models_outputs(tiny_classifier, tmp_path, labels):
    from transformers import pipeline

    folder = write_random(tiny_classifier, tmp_path / "model", labels, problem_type="regression")
    module = load_source(ModelSpec(path=folder), "text-classification").module
    task = task_of(module, folder)
    found = answers(module, task)
    every = pipeline("text-classification", model=str(folder), top_k=None)(TEXTS)
    for own, expected in zip(found, every, strict=True):
        listed = own if len(labels) == 2 else [own]
        assert [a["label"] for a in listed] == labels
        values = {a["label"]: a["score"] for a in expected}
        assert [a["score"] for a in listed] == pytest.approx([values[label] for label in labels], abs=1e-5)
    assert task.answer_schema()["type"] == ("object" if len(labels) == 1 else "array")


def test_labels_of_the_recipe_replace_the_model_s(module, tiny_classifier):
    own = answers(module, task_of(module, tiny_classifier))
    renamed = answers(module, task_of(module, tiny_classifier, labels=["thumbs down", "thumbs up"]))
    names = {"negative": "thumbs down", "positive": "thumbs up"}
    assert renamed == [{"label": names[a["label"]], "score": a["score"]} for a in own]


def test_too_few_labels_are_refused(module, tiny_classifier):
    with pytest.raises(QuantbentoError, match=r"task_options\.labels has 1 names; the model has 2"):
        task_of(module, tiny_classifier, labels=["good"])


def test_one_output_is_a_regression_with_a_hint(tiny_classifier, tmp_path, caplog):
    folder = write_random(tiny_classifier, tmp_path / "model", ["relevance"])
    task = task_of(load_source(ModelSpec(path=folder), "text-classification").module, folder)
    assert task.head.problem_type == "regression"
    assert "For a reranker use task text-ranking" in caplog.text


def test_one_output_is_no_choice_among_several(tiny_classifier, tmp_path):
    folder = write_random(tiny_classifier, tmp_path / "model", ["yes"])
    module = load_source(ModelSpec(path=folder), "text-classification").module
    with pytest.raises(QuantbentoError, match=r"needs two or more\. For a regression set problem_type: regression"):
        task_of(module, folder, problem_type="single_label_classification")


def test_an_unknown_problem_type_is_refused(tiny_classifier):
    module = load_source(ModelSpec(path=tiny_classifier), "text-classification").module
    module.config.__dict__["problem_type"] = "multi-label"
    with pytest.raises(QuantbentoError, match=r"unknown problem_type 'multi-label'; allowed are 'single_label"):
        task_of(module, tiny_classifier)


def test_a_threshold_where_there_is_none_is_refused(module, tiny_classifier):
    with pytest.raises(QuantbentoError, match=r"threshold is for multi_label_classification; this model is for single"):
        task_of(module, tiny_classifier, threshold=0.3)


def test_a_sample_label_the_model_lacks_is_refused(module, tiny_classifier):
    with pytest.raises(QuantbentoError, match=r"\['neutral'\] are none of the model's: 'negative' or 'positive'"):
        task_of(module, tiny_classifier, sample_labels=["positive", "neutral"])


def test_accuracy_takes_label_names_and_indices(module, tiny_classifier):
    task = task_of(module, tiny_classifier)
    baseline = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=np.float32)}
    variant = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)}
    right = {"accuracy": 2 / 3, "f1": 2 / 3, "f1_macro": 2 / 3, "mcc": 0.5}
    expected = pytest.approx({"agreement": 2 / 3, "max_probability_difference": 0.2, **right})
    assert task.compare(baseline, variant, ["negative", "positive", "negative"]) == expected
    assert task.compare(baseline, variant, [0, 1, 0]) == expected
    assert "accuracy" not in task.compare(baseline, variant, None)


@pytest.mark.parametrize("options", [{}, {"problem_type": "regression"}, SEVERAL], ids=["one", "numbers", "several"])
def test_a_saved_task_reads_back_the_same(module, tiny_classifier, tmp_path, options):
    task = task_of(module, tiny_classifier, **options)
    (tmp_path / "artifact").mkdir()
    again = TextClassification.load(tmp_path / "artifact", json.loads(json.dumps(task.save(tmp_path / "artifact"))))
    assert answers(module, again) == answers(module, task)


@pytest.mark.parametrize("several", [False, True], ids=["one-label", "several-labels"])
def test_a_task_that_version_0_2_stored_still_loads(module, tiny_classifier, tmp_path, several):
    kind = "multi_label_classification" if several else "single_label_classification"
    task = task_of(module, tiny_classifier, problem_type=kind)
    config = {"text": task.text.save(tmp_path), "labels": ["negative", "positive"], "multi_label": several}
    assert answers(module, TextClassification.load(tmp_path, config)) == answers(module, task)


@pytest.mark.parametrize(
    ("config", "suits"),
    [
        ({}, True),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}, "sentence_transformers": {"activation_fn": "x"}}, True),
        ({"id2label": {"0": "a"}, "problem_type": "regression"}, True),
        ({"id2label": {"0": "a"}}, False),
        ({"num_labels": 1, "problem_type": "regression", "sbert_ce_default_activation_function": "x"}, False),
    ],
    ids=["two", "three-of-a-cross-encoder", "regression", "one", "regression-of-a-cross-encoder"],
)
def test_a_reranker_is_told_apart_by_its_configuration(config, suits):
    assert TextClassification.suits(config) is suits
    assert TextRanking.suits(config) is not suits


def test_large_logits_do_not_overflow(module, tiny_classifier):
    task = task_of(module, tiny_classifier)
    rows = task.postprocess({"logits": np.array([[1000.0, 0.0]], dtype=np.float32)}, {})
    assert task.answers(rows, ["a text"]) == [{"label": "negative", "score": 1.0}]
