"""The two shapes of `/rerank`: sorted, cut, and with scores from 0 to 1."""

import uuid

import pytest
from bentoml.exceptions import InvalidArgument

from quantbento.serving.reranking import cohere_response, inference_response, one_of_both, pairs_of, texts_of

ANSWERS = [{"score": logit, "logit": logit} for logit in (0.0, 4.0, -2.0)]
TEXTS = ["first", "second", "third"]
SCORES = [pytest.approx(0.98201379), 0.5, pytest.approx(0.11920292)]


def test_coheres_results_are_sorted_by_relevance():
    response = cohere_response(ANSWERS, TEXTS, None, return_documents=False)
    assert [result["index"] for result in response["results"]] == [1, 0, 2]
    assert [result["relevance_score"] for result in response["results"]] == SCORES
    assert response["results"][0].keys() == {"index", "relevance_score"}
    assert uuid.UUID(response["id"])
    assert response["meta"]["api_version"]["version"] == "2"


@pytest.mark.parametrize(("top_n", "indices"), [(1, [1]), (2, [1, 0]), (9, [1, 0, 2])])
def test_coheres_results_are_cut_and_have_their_documents(top_n, indices):
    results = cohere_response(ANSWERS, TEXTS, top_n, return_documents=True)["results"]
    assert [result["index"] for result in results] == indices
    assert [result["document"] for result in results] == [{"text": TEXTS[index]} for index in indices]


def test_the_other_shape_is_a_list_with_scores_or_logits():
    assert inference_response(ANSWERS, TEXTS, raw_scores=False, return_text=False) == [
        {"index": index, "score": score} for index, score in zip([1, 0, 2], SCORES, strict=True)
    ]
    assert inference_response(ANSWERS, TEXTS, raw_scores=True, return_text=True) == [
        {"index": 1, "score": 4.0, "text": "second"},
        {"index": 0, "score": 0.0, "text": "first"},
        {"index": 2, "score": -2.0, "text": "third"},
    ]


def test_equals_stay_in_the_order_of_the_request():
    same = [{"score": 1.0, "logit": 1.0}] * 4
    assert [r["index"] for r in inference_response(same, ["a"] * 4, False, False)] == [0, 1, 2, 3]


def test_logits_that_saturate_are_still_sorted():
    high = [{"score": 1.0, "logit": 50.0}, {"score": 1.0, "logit": 90.0}]
    assert [r["index"] for r in inference_response(high, ["a", "b"], False, False)] == [1, 0]


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        (["a", {"text": "b"}], ["a", "b"]),
        ([{"text": "b", "title": "t"}], ["b"]),
        ([{"txt": "b"}, 3], [{"txt": "b"}, 3]),
        ("no list", "no list"),
        (None, None),
    ],
)
def test_documents_may_be_mappings_with_a_text(given, texts):
    assert texts_of(given) == texts


def test_a_request_has_documents_or_texts():
    assert one_of_both(["a"], None) == one_of_both(None, ["a"]) == ["a"]
    for both in ((["a"], ["b"]), (None, None)):
        with pytest.raises(InvalidArgument, match=r"`documents` .* or `texts`"):
            one_of_both(*both)


def test_the_query_goes_with_each_text():
    assert pairs_of("q", ["a", "b"]) == [{"query": "q", "document": "a"}, {"query": "q", "document": "b"}]
