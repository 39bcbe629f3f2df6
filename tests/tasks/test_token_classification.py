"""Texts and lists of words are read alike; words are judged by their first token."""

import json

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.recipe import ModelSpec
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.source import SampleSet
from quantbento.tasks.token_classification import TokenClassification, TokenClassificationOptions
from tests.jobs import load_source
from tests.tokenizers_of_each_kind import KINDS, write_tagger
from tests.trained_heads import TAGS, tagged

ROWS = tagged(40, seed=8)
WORDS, LABELS = [row["tokens"] for row in ROWS], [row["ner_tags"] for row in ROWS]


@pytest.fixture(scope="module")
def source(tiny_tagger):
    return load_source(ModelSpec(path=tiny_tagger), "token-classification")


def task_of(source, inputs=WORDS, labels=None, **options):
    return TokenClassification.create(source, TokenClassificationOptions(**options), SampleSet(inputs, labels))


def predictor(source, task):
    return Predictor(task, TorchRuntime(source.module, None, ["logits"]), {})


def test_a_trained_model_finds_what_it_was_taught(source):
    task = task_of(source, labels=LABELS)
    rows = predictor(source, task).rows(WORDS)
    metrics = task.compare(rows, rows, LABELS)
    assert metrics["entity_f1"] > 0.6
    assert 0.8 < metrics["accuracy"] < 1
    assert (metrics["entity_agreement"], metrics["agreement"], metrics["max_probability_difference"]) == (1, 1, 0)
    assert metrics.keys() == task.metrics.keys()
    assert task.compare(rows, rows, None).keys() == {name for name, m in task.metrics.items() if not m.labelled}


def test_words_are_answered_as_the_text_they_make(source):
    model = predictor(source, task_of(source))
    assert model(WORDS) == model([" ".join(words) for words in WORDS])
    text = "the film was good"
    [[entity]] = model([text])
    assert text[entity["start"] : entity["end"]] == entity["word"] == "good"
    assert entity["entity_group"] == "GOOD"


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_judged_by_its_first_token(tmp_path, kind):
    """As Transformers' tokenizers number the tokens of a list of words."""
    from transformers import AutoTokenizer

    source = load_source(ModelSpec(path=write_tagger(tmp_path, kind)), "token-classification")
    words = ["Marie", "visited", "Zürich", ",", "São", "Paulo", "and", "東京", "."]
    task = task_of(source, [words])
    item = task.check(words)
    model = predictor(source, task)
    [own], [every] = (rows["probabilities"] for rows in (model.rows([words]), model.run([item])))
    tokens = AutoTokenizer.from_pretrained(tmp_path).tokenize(" ".join(words), add_special_tokens=True)
    assert len(tokens) == len(every)
    numbers = task.text.encoding(" ".join(words)).offsets
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    for place, row in enumerate(own):
        end = starts[place] + len(words[place])
        first = next(i for i, (start, stop) in enumerate(numbers) if stop > start and starts[place] < stop <= end)
        np.testing.assert_array_equal(row, every[first])


def test_words_that_are_not_read_are_no_entities(source):
    task = task_of(source, max_length=6)  # four words and the two tokens that frame them
    words = ["the", "good", "", "film", "was", "good"]
    [own] = predictor(source, task).rows([words])["probabilities"]
    assert own.any(axis=1).tolist() == [True, True, False, True, True, False]
    rows = {"probabilities": own[None]}
    metrics = task.compare(rows, rows, [["O", "B-GOOD", "O", "O", "O", "B-GOOD"]])
    assert metrics["accuracy"] == pytest.approx(5 / 6)
    assert metrics["entity_f1"] == pytest.approx(2 * 1 / 3)


def test_tokens_of_texts_are_compared_without_those_that_frame_them(source):
    model = predictor(source, task_of(source, ["a"]))
    rows = model.rows(["the film was good", "a book"])["probabilities"]
    assert [row.shape for row in rows] == [(4, 5), (2, 5)]


def test_tags_may_be_names_or_numbers_of_the_model_or_of_the_samples(source):
    task = task_of(source)
    rows = predictor(source, task).rows(WORDS)
    expected = task.compare(rows, rows, LABELS)
    assert task.compare(rows, rows, [[TAGS.index(tag) for tag in own] for own in LABELS]) == expected
    turned = TAGS[::-1]
    theirs = task_of(source, tags=turned)
    assert theirs.compare(rows, rows, [[turned.index(tag) for tag in own] for own in LABELS]) == expected


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (["a text"], [["O", "O"]], "samples must be lists of words"),
        ([["a"]], ["O"], "a tag for each word; number 0: 'O'"),
        ([["a"]], [["B-OTHER"]], r"\['B-OTHER'\] are none of the model's"),
        ([["a"]], [[7]], r"\['7'\] are none of the model's"),
    ],
    ids=["texts", "no-list", "unknown", "unknown-number"],
)
def test_labels_that_do_not_fit_are_refused(source, inputs, labels, message):
    with pytest.raises(QuantbentoError, match=message):
        task_of(source, inputs, labels)


def test_labels_of_another_number_of_words_are_an_error(source):
    task = task_of(source)
    rows = predictor(source, task).rows([["the", "film"]])
    with pytest.raises(QuantbentoError, match="sample 0 has 2 words but 3 labels"):
        task.compare(rows, rows, [["O", "O", "O"]])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (3, "must be a string or a list of words, not int"),
        ("", "must not be empty"),
        ([], "must not be empty"),
        (["", " "], "must not be empty"),
        (["a", 3], "word 1 must be a string, not int"),
        (["a", "\ud800"], "is not valid Unicode"),
    ],
)
def test_what_is_no_text_is_refused(source, item, message):
    with pytest.raises(InvalidInput, match=message):
        task_of(source).check(item)


def test_answers_are_as_their_schema_says(source):
    for strategy in ("none", "simple"):
        task = task_of(source, aggregation_strategy=strategy)
        for own in predictor(source, task)(WORDS[:5]):
            for entity in own:
                assert entity.keys() == task.answer_schema()["items"]["properties"].keys()


def test_a_saved_task_reads_back_the_same(source, tmp_path):
    task = task_of(source, labels=LABELS, tags=TAGS[::-1], aggregation_strategy="max", max_length=5)
    again = TokenClassification.load(tmp_path, json.loads(json.dumps(task.save(tmp_path))))
    assert predictor(source, again)(WORDS) == predictor(source, task)(WORDS)
    assert (again.tags, again.strategy, again.text.max_length) == (TAGS[::-1], "max", 5)
