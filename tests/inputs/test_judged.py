"""Pairs, groups, and the parts of them that a rehearsal takes."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.judged import few, identity, judged
from quantbento.recipe import Evaluation

STS = "sentence1,sentence2,score,genre\na cat,a dog,2.5,news\na dog,a cow,1,forum\na cat,a cat,5,news\n"


@pytest.fixture
def read(tmp_path):
    def _read(content: str, name: str = "a.csv", fields=("text",), **settings):
        (tmp_path / name).write_text(content)
        return judged(Evaluation(path=tmp_path / name, **settings), fields, ())

    return _read


def test_pairs_hold_each_text_once(read):
    samples = read(STS, kind="pairs", group="genre")
    assert samples.inputs == ["a cat", "a dog", "a cow"]
    assert (samples.units.left.tolist(), samples.units.right.tolist()) == ([0, 1, 0], [1, 2, 0])
    assert samples.units.scores.tolist() == [2.5, 1, 5]
    assert samples.groups == ["news", "forum", "news"]
    assert samples.spec.kind == "pairs"


def test_columns_are_named_in_the_recipe(read):
    text = STS.replace("sentence1", "first").replace("score", "label")
    samples = read(text, kind="pairs", columns={"sentence1": "first", "score": "label"}, count=2)
    assert samples.inputs == ["a cat", "a dog", "a cow"]
    assert samples.units.scores.tolist() == [2.5, 1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (STS.replace("2.5", "much"), "row 1 is no pair of texts with a score that is a number"),
        (STS.replace("2.5", "nan"), "the score of row 1 is 'nan'; it must be a finite number"),
        (STS.replace("sentence2", "b"), "has no column 'sentence2'.*name it with `columns: {sentence2: ...}`"),
        (STS.replace("score", "stars"), "has no column 'score'; name it with `columns: {score: ...}`"),
    ],
    ids=["text", "nan", "no-text", "no-score"],
)
def test_what_is_wrong_with_pairs_is_said(read, content, told):
    with pytest.raises(QuantbentoError, match=told):
        read(content, kind="pairs")


def test_a_rehearsal_takes_the_first_pairs_with_their_texts(read):
    cut = few(read(STS, kind="pairs", group="genre"), 1)
    assert (cut.inputs, cut.groups) == (["a cat", "a dog"], ["news"])
    assert (cut.units.left.tolist(), cut.units.right.tolist(), cut.units.scores.tolist()) == ([0], [1], [2.5])


def test_samples_are_grouped_by_a_column(read):
    text = "text,label,language\na,1,de\nb,0,fr\nc,1,de\n"
    assert read(text, group="language").groups == ["de", "fr", "de"]
    assert read(text, group="language", count=2).groups == ["de", "fr"]
    assert read(text, group="label").groups == ["1", "0", "1"]
    with pytest.raises(QuantbentoError, match="no column 'languag' to group by; did you mean 'language'"):
        read(text, group="languag")
    many = "text,id\n" + "".join(f"t{i},{i}\n" for i in range(101))
    with pytest.raises(QuantbentoError, match="'id' has 101 values in 101 samples; name a column with up to 100"):
        read(many, group="id")


def test_arrays_are_grouped_too(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((2, 1)), kind=np.array([1, 2]))
    samples = judged(Evaluation(path=tmp_path / "a.npz", group="kind"), (), ())
    assert (samples.groups, list(samples.inputs[0])) == (["1", "2"], ["x"])


def test_a_metric_s_source_is_part_of_the_identity():
    spec = Evaluation(factory="a.b:c", metrics={"mine": "tests.judging.evaluation.test_own:share"})
    (function,) = identity(spec)["functions"]
    assert len(function["sha256"]) == 64
    assert identity(Evaluation(factory="a.b:c")) == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"factory": "a:b", "group": "x"}, "group names a column of a table"),
        ({"factory": "a:b", "kind": "retrieval"}, "needs path, a folder with corpus.jsonl"),
        ({"factory": "a:b", "query_prompt": "q"}, "'query_prompt' is for kind 'retrieval'"),
        ({"factory": "a:b", "kind": "pairs", "metrics": {"m": "a:b"}}, "metrics of your own are for kind 'items'"),
        ({"factory": "a:b", "metrics": {"My metric": "a:b"}}, "should match pattern"),
        ({"dataset": "d", "kind": "pairs", "label": "x"}, "'label' is not read by kind 'pairs'"),
        ({"factory": "a:b", "worst": 0}, "greater than 0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_keys_that_mean_nothing_are_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        Evaluation(**settings)
