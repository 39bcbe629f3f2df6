"""Scores equal those of sentence-transformers' CrossEncoder; rankings are judged by query."""

import json
import shutil

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.recipe import ModelSpec
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.source import SampleSet
from quantbento.tasks.text_ranking import TextRanking, TextRankingOptions
from tests.jobs import load_source
from tests.trained_heads import pairs

ROWS = pairs(6, 5, seed=7)
ITEMS = [{"query": row["query"], "document": row["document"]} for row in ROWS]
LONG = {"query": "a good film", "document": "the film was good and a very lovely song " * 30}


@pytest.fixture
def folder(tiny_ranker, tmp_path):
    """A copy of the model's folder, which a test may change."""
    return shutil.copytree(tiny_ranker, tmp_path / "model")


def task_of(folder, labels=None, **options):
    source = load_source(ModelSpec(path=folder), "text-ranking")
    return TextRanking.create(source, TextRankingOptions(**options), SampleSet(ITEMS[:2], labels)), source.module


def predictor(task, module):
    return Predictor(task, TorchRuntime(module, None, ["logits"]), {})


def change(path, **settings):
    config = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(config | settings))


def with_outputs(folder, outputs):
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig.from_pretrained(folder, num_labels=outputs)).save_pretrained(folder)


@pytest.mark.parametrize(
    ("settings", "activation"),
    [
        ({}, "sigmoid"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, "identity"),
        ({"sentence_transformers": None, "sbert_ce_default_activation_function": "torch.nn.Identity"}, "identity"),
        ({"sentence_transformers": {}}, "sigmoid"),
    ],
    ids=["sigmoid", "identity", "identity-before-version-4", "default"],
)
def test_scores_equal_the_cross_encoders(folder, settings, activation):
    from sentence_transformers import CrossEncoder

    change(folder / "config.json", **{k: v for k, v in settings.items() if v is not None})
    if settings.get("sentence_transformers", 0) is None:
        config = json.loads((folder / "config.json").read_text())
        config.pop("sentence_transformers")
        (folder / "config.json").write_text(json.dumps(config))
    task, module = task_of(folder)
    assert task.activation == activation
    items = [*ITEMS, LONG]
    expected = CrossEncoder(str(folder), device="cpu").predict([(i["query"], i["document"]) for i in items])
    found = predictor(task, module)(items)
    np.testing.assert_allclose([answer["score"] for answer in found], expected, atol=2e-5)
    if activation == "sigmoid":
        np.testing.assert_allclose(1 / (1 + np.exp([-answer["logit"] for answer in found])), expected, atol=2e-5)
        assert max(expected) - min(expected) > 0.5


def test_the_cross_encoders_own_file_wins(folder):
    change(folder / "config_sentence_transformers.json", activation_fn="torch.nn.modules.linear.Identity")
    assert task_of(folder)[0].activation == "identity"
    assert task_of(folder, activation="sigmoid")[0].activation == "sigmoid"


def test_of_two_outputs_the_score_is_the_second_ones_probability(folder):
    with_outputs(folder, 2)
    task, module = task_of(folder, activation="sigmoid")
    batch = task.collate([task.encode(item) for item in ITEMS])
    logits = TorchRuntime(module, None, ["logits"]).run(batch)["logits"]
    expected = np.exp(logits)[:, 1] / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose([answer["score"] for answer in predictor(task, module)(ITEMS)], expected, atol=1e-5)


def test_three_outputs_are_no_ranking(folder):
    with_outputs(folder, 3)
    with pytest.raises(QuantbentoError, match=r"has 3 outputs; a model for text-ranking has one, or two"):
        task_of(folder)


def test_another_activation_is_refused_until_the_recipe_chooses(folder):
    change(folder / "config.json", sentence_transformers={"activation_fn": "torch.nn.modules.activation.Tanh"})
    with pytest.raises(QuantbentoError, match=r"names the activation torch.nn.modules.activation.Tanh"):
        task_of(folder)
    assert task_of(folder, activation="identity")[0].activation == "identity"


def test_a_step_that_is_not_done_is_refused(folder):
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.x.LogitScore", "path": "1"}]))
    with pytest.raises(QuantbentoError, match="has a LogitScore step"):
        task_of(folder)


def test_a_saved_task_reads_back_the_same(folder, tmp_path):
    task, module = task_of(folder, activation="identity", max_length=12)
    (tmp_path / "artifact").mkdir()
    again = TextRanking.load(tmp_path / "artifact", json.loads(json.dumps(task.save(tmp_path / "artifact"))))
    assert predictor(again, module)(ITEMS) == predictor(task, module)(ITEMS)
    assert again.text.max_length == 12


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("a text", 'must be {"query": text, "document": text}'),
        ({"query": "a"}, 'must be {"query": text, "document": text}'),
        ({"query": "a", "document": "b", "label": 1}, 'must be {"query": text, "document": text}'),
        ({"query": "a", "document": 3}, "document must be a string, not int"),
        ({"query": " ", "document": "b"}, "query must not be empty"),
        ({"query": "a", "document": "\ud800"}, "document is not valid Unicode"),
    ],
    ids=["text", "half", "more", "number", "empty", "surrogate"],
)
def test_what_is_no_pair_is_refused(tiny_ranker, item, message):
    with pytest.raises(InvalidInput) as raised:
        task_of(tiny_ranker)[0].check(item)
    assert message in str(raised.value)


def test_the_examples_are_pairs(tiny_ranker):
    task, _ = task_of(tiny_ranker)
    assert [task.check(item) for item in task.examples()] == task.examples()


def rows_of(logits, queries):
    return {"logit": np.array(logits, np.float32), "query": np.array(queries)}


def test_ndcg_is_the_mean_over_the_queries(tiny_ranker):
    task, _ = task_of(tiny_ranker, activation="identity")
    baseline = rows_of([3, 2, 1, 1, 2, 5], [0, 0, 0, 1, 1, 2])
    variant = rows_of([3, 1, 2, 2, 1, 5], [0, 0, 0, 1, 1, 2])
    found = task.compare(baseline, variant, [0, "1", 0, 0, 1.0, 0])
    at_second, at_third = 1 / np.log2(3), 1 / np.log2(4)
    assert found["ndcg_10"] == pytest.approx((at_third + at_second) / 2)  # the third query has no relevant document
    assert found["max_score_difference"] == 1
    assert found["score_spearman"] < 1
    assert task.compare(baseline, baseline, [0, 1, 0, 0, 1, 0])["ndcg_10"] == pytest.approx((at_second + 1) / 2)
    assert "ndcg_10" not in task.compare(baseline, variant, None)
    assert "ndcg_10" not in task.compare(baseline, variant, [0] * 6)


def test_a_trained_ranker_puts_what_is_relevant_first(tiny_ranker):
    task, module = task_of(tiny_ranker)
    model, labels = predictor(task, module), [row["label"] for row in ROWS]
    rows = model.rows(ITEMS)
    assert task.compare(rows, rows, labels)["ndcg_10"] > 0.95
    assert task.compare(rows, rows | {"logit": -rows["logit"]}, labels)["ndcg_10"] < 0.8


def test_the_rows_say_which_pairs_have_the_same_query(tiny_ranker):
    model = predictor(*task_of(tiny_ranker))
    items = [{"query": query, "document": "the book"} for query in ("a", "the", "a", "film")]
    assert model.rows(items)["query"].tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("labels", [["relevant", "not"], [1, -1], [1, None], [float("nan"), 1]])
def test_labels_that_are_no_relevance_are_refused(tiny_ranker, labels):
    with pytest.raises(QuantbentoError, match="labels of text-ranking are numbers"):
        task_of(tiny_ranker, labels)
