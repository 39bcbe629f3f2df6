"""Entities equal those of the Transformers pipeline, for every strategy and every kind of tokenizer."""

from typing import get_args

import pytest

from quantbento.recipe import ModelSpec
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.entities import Strategy, Token, entities
from quantbento.tasks.source import SampleSet
from quantbento.tasks.token_classification import TokenClassification, TokenClassificationOptions
from tests.jobs import load_source
from tests.tokenizers_of_each_kind import KINDS, SENTENCES, write_tagger

STRATEGIES = get_args(Strategy)
TEXTS = [
    *SENTENCES,
    "中文 and Œuvre naïve  café — “quoted” 😀 emoji",
    "Unknown Ж letters x",
    "O'Neill's  double  spaces\nnewline ",
    "a",
    "Société " * 100,  # cut
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folders = {kind: write_tagger(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}
    return {
        kind: (folder, load_source(ModelSpec(path=folder), "token-classification")) for kind, folder in folders.items()
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", KINDS)
def test_entities_equal_the_pipelines(models, kind, strategy):
    from transformers import pipeline

    folder, source = models[kind]
    options = TokenClassificationOptions(aggregation_strategy=strategy)
    task = TokenClassification.create(source, options, SampleSet([]))
    found = Predictor(task, TorchRuntime(source.module, None, ["logits"]), {})(TEXTS)
    theirs = pipeline("token-classification", model=str(folder), aggregation_strategy=strategy)
    for text, own in zip(TEXTS, found, strict=True):
        expected = theirs(text)
        assert [without_word(entity) for entity in own] == [without_word(entity) for entity in expected]
        assert [e["score"] for e in own] == pytest.approx([float(e["score"]) for e in expected], abs=1e-5)
        if kind == "wordpiece" or strategy in ("none", "simple"):
            assert [entity["word"] for entity in own] == [entity["word"] for entity in expected]
        else:  # the pipeline decodes what it has decoded, which loses spaces and letters beyond ASCII
            whole = [entity for entity in own if "\N{REPLACEMENT CHARACTER}" not in entity["word"]]  # half a character
            assert [entity["word"] for entity in whole] == [decoded_once(theirs.tokenizer, text, e) for e in whole]
    kinds = {entity.get("entity") or entity["entity_group"] for own in found for entity in own}
    assert len(kinds) > 1


def decoded_once(tokenizer, text, entity):
    encoded = tokenizer(text, return_offsets_mapping=True, truncation=True)
    tokens = zip(encoded.tokens(), encoded["offset_mapping"], strict=True)
    inside = [token for token, (start, end) in tokens if entity["start"] <= start and start < end <= entity["end"]]
    return tokenizer.convert_tokens_to_string(inside)


def without_word(entity):
    return {name: value for name, value in entity.items() if name not in ("word", "score")}


LABELS = ["O", "B-A", "I-A", "B-B"]
MICROSOFT = [Token(1, "micro", 0, 5, False), Token(2, "##soft", 5, 9, True), Token(3, "works", 10, 15, False)]


def found(rows, strategy):
    import numpy as np

    probabilities = np.array([[0, 0, 0, 0], *rows], np.float32)
    return entities(MICROSOFT, probabilities, LABELS, strategy, " ".join)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("simple", [("B", 0, 5, 0.6), ("A", 5, 9, 0.7)]),
        ("first", [("B", 0, 9, 0.6)]),
        ("max", [("A", 0, 9, 0.7)]),
        ("average", [("A", 0, 9, 0.55)]),
    ],
)
def test_a_word_has_one_label(strategy, expected):
    own = found([[0, 0.4, 0, 0.6], [0.1, 0.7, 0, 0.2], [0.9, 0.1, 0, 0]], strategy)
    assert [(e["entity_group"], e["start"], e["end"], pytest.approx(e["score"])) for e in own] == expected


def test_a_label_that_begins_starts_a_new_group():
    goes_on = [[0, 0.9, 0.1, 0], [0, 0.1, 0.9, 0], [0, 0, 0.9, 0.1]]
    begins = [[0, 0.9, 0.1, 0], [0, 0.1, 0.9, 0], [0, 0.9, 0, 0.1]]
    assert [(e["start"], e["end"]) for e in found(goes_on, "simple")] == [(0, 15)]
    assert [(e["start"], e["end"]) for e in found(begins, "simple")] == [(0, 9), (10, 15)]


def test_without_aggregation_there_are_tokens_with_their_index():
    own = found([[1, 0, 0, 0], [0, 0, 0.8, 0.2], [0.9, 0.1, 0, 0]], "none")
    assert own == [{"entity": "I-A", "score": pytest.approx(0.8), "index": 2, "word": "##soft", "start": 5, "end": 9}]


def test_no_tokens_have_no_entities():
    import numpy as np

    assert entities([], np.zeros((2, 4), np.float32), LABELS, "average", " ".join) == []
