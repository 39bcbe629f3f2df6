"""The ranker over HTTP, as its own API and as Cohere's and Text Embeddings Inference's clients ask it."""

from __future__ import annotations

import asyncio

import bentoml
import httpx
import hypothesis.strategies as st
import pytest

from quantbento import cli
from tests.conftest import NEUTRAL, model_store
from tests.stored_texts import all_at_once, bodies, load, save_text_model, server_of, statuses_of
from tests.trained_heads import pairs

pytestmark = [pytest.mark.slow, pytest.mark.server]

RANKER = "tiny-ranker-onnx-int8"
QUERY = "a good film"
DOCUMENTS = ["the film was dull and awful", "a great lovely film", "it was good and bad", "a very broken book"]
LIMITS = {"max_items": 8, "max_characters": 1000}


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_ranker):
    folder = tmp_path_factory.mktemp("ranking")
    with model_store(folder / "bentoml") as home:
        assert save_text_model(folder, "tiny-ranker", "text-ranking", tiny_ranker, pairs(4, 6, 5)) == RANKER
    return home


@pytest.fixture(scope="module")
def ranking(home, tmp_path_factory):
    with server_of("TextRanking", RANKER, home, tmp_path_factory.mktemp("log"), **LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def ranker(home):
    return load(home, RANKER)


def post(server, route: str, **body) -> httpx.Response:
    return httpx.post(f"{server.url}{route}", json=body, timeout=30)


def scored(ranker, documents: list[str]) -> list[dict[str, float]]:
    return ranker([{"query": QUERY, "document": document} for document in documents])


def ranked(answers: list[dict[str, float]]) -> list[int]:
    return sorted(range(len(answers)), key=lambda index: -answers[index]["logit"])


def about(value: float):
    """Equal, but for the company that a pair was batched with."""
    return pytest.approx(value, abs=1e-5)


def test_pairs_are_scored_as_the_loaded_model_does(ranking, ranker):
    rows = [{"query": row["query"], "document": row["document"]} for row in pairs(2, 4, seed=9)]
    answers = post(ranking, "/score", pairs=rows).json()
    assert answers == [{name: about(value) for name, value in answer.items()} for answer in ranker(rows)]
    assert {answer.keys() == {"score", "logit"} for answer in answers} == {True}


def test_coheres_client_gets_coheres_shape(ranking, ranker):
    """All fields that its version 7 sends to `POST /v2/rerank`."""
    body = {"model": "rerank-v3.5", "query": QUERY, "documents": DOCUMENTS, "top_n": 3}
    body |= {"max_tokens_per_doc": 4096, "priority": 0}
    response = post(ranking, "/v2/rerank", **body)
    assert response.status_code == 200
    given, expected = response.json(), scored(ranker, DOCUMENTS)
    assert given.keys() == {"id", "results", "meta"}
    assert given["results"] == [
        {"index": index, "relevance_score": about(expected[index]["score"])} for index in ranked(expected)[:3]
    ]
    assert given["results"][0]["index"] == 1
    assert post(ranking, "/rerank", **body).json()["results"] == given["results"]


def test_documents_may_be_mappings_and_come_back(ranking, ranker):
    documents = [{"text": text} for text in DOCUMENTS]
    for route in ("/rerank", "/v2/rerank"):
        results = post(ranking, route, query=QUERY, documents=documents, return_documents=True).json()["results"]
        assert [result["index"] for result in results] == ranked(scored(ranker, DOCUMENTS))
        assert [result["document"] for result in results] == [documents[result["index"]] for result in results]


def test_the_other_apis_client_gets_its_shape(ranking, ranker):
    """All fields that Text Embeddings Inference has; `truncate` may be null."""
    expected = scored(ranker, DOCUMENTS)
    common = {"query": QUERY, "texts": DOCUMENTS, "truncation_direction": "Right"}
    plain = post(ranking, "/rerank", **common, truncate=None, raw_scores=False, return_text=False).json()
    assert plain == [{"index": index, "score": about(expected[index]["score"])} for index in ranked(expected)]
    raw = post(ranking, "/rerank", **common, truncate=True, raw_scores=True, return_text=True).json()
    assert raw == [
        {"index": index, "score": about(expected[index]["logit"]), "text": DOCUMENTS[index]}
        for index in ranked(expected)
    ]


def test_a_long_document_is_cut_where_the_model_ends(ranking, ranker):
    """64 tokens: three that frame, three of the query, 58 of the document; each word is one."""
    kept = [*(NEUTRAL * 5)[:57], "awful"]
    documents = [" ".join(kept), " ".join([*kept, *["superb"] * 40])]
    short, long = sorted(
        post(ranking, "/rerank", query=QUERY, texts=documents).json(), key=lambda found: found["index"]
    )
    assert long["score"] == about(short["score"]) == about(scored(ranker, documents)[1]["score"])


def test_many_requests_at_once_are_answered_as_alone(ranking, ranker):
    rows = pairs(96, 4, seed=10)
    asked = [rows[place : place + 4] for place in range(0, len(rows), 4)]
    requests = [
        {"query": own[0]["query"], "texts": [row["document"] for row in own], "raw_scores": True} for own in asked
    ]
    answers = asyncio.run(all_at_once(f"{ranking.url}/rerank", requests))
    for own, answer in zip(asked, answers, strict=True):
        expected = ranker([{"query": row["query"], "document": row["document"]} for row in own])
        found = {each["index"]: each["score"] for each in answer}
        assert [found[index] for index in range(4)] == [about(each["logit"]) for each in expected]
        assert [each["score"] for each in answer] == sorted(found.values(), reverse=True)


LONG = "a" * (LIMITS["max_characters"] + 1)
MANY = ["a"] * (LIMITS["max_items"] + 1)
WRONG = {  # endpoint, body, the field that is wrong
    "nothing": ("/rerank", {}, "query"),
    "no query": ("/v2/rerank", {"documents": ["a"]}, "query"),
    "a number for a query": ("/rerank", {"query": 3, "texts": ["a"]}, "query"),
    "a blank query": ("/rerank", {"query": " ", "documents": ["a"]}, "query"),
    "a long query": ("/rerank", {"query": LONG, "documents": ["a"]}, "query"),
    "no documents": ("/v2/rerank", {"query": "a"}, "documents"),
    "null for documents": ("/v2/rerank", {"query": "a", "documents": None}, "documents"),
    "empty documents": ("/v2/rerank", {"query": "a", "documents": []}, "documents"),
    "empty documents at the other path": ("/rerank", {"query": "a", "documents": []}, "documents"),
    "empty texts": ("/rerank", {"query": "a", "texts": []}, "texts"),
    "a text for documents": ("/rerank", {"query": "a", "documents": "a"}, "documents"),
    "a number for a document": ("/v2/rerank", {"query": "a", "documents": ["a", 1]}, "documents"),
    "a number for a text": ("/rerank", {"query": "a", "texts": ["a", 1]}, "texts"),
    "a blank text": ("/rerank", {"query": "a", "texts": ["a", " "]}, "texts"),
    "a mapping without a text": ("/rerank", {"query": "a", "documents": [{"title": "a"}]}, "documents"),
    "too many documents": ("/v2/rerank", {"query": "a", "documents": MANY}, "documents"),
    "too many texts": ("/rerank", {"query": "a", "texts": MANY}, "texts"),
    "a long document": ("/v2/rerank", {"query": "a", "documents": [LONG]}, "documents"),
    "no best": ("/v2/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
    "no pairs": ("/score", {}, "pairs"),
    "empty pairs": ("/score", {"pairs": []}, "pairs"),
    "a pair without a document": ("/score", {"pairs": [{"query": "a"}]}, "pairs"),
    "a pair as a list": ("/score", {"pairs": [["a", "b"]]}, "pairs"),
    "a number in a pair": ("/score", {"pairs": [{"query": "a", "document": 1}]}, "pairs"),
    "too many pairs": ("/score", {"pairs": [{"query": "a", "document": "b"}] * len(MANY)}, "pairs"),
    "a long text in a pair": ("/score", {"pairs": [{"query": "a", "document": LONG}]}, "pairs"),
}


@pytest.mark.parametrize(("route", "body", "field"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_400_with_the_field(ranking, route, body, field):
    response = post(ranking, route, **body)
    assert response.status_code == 400, response.text
    assert response.json()["errors"][0]["loc"][0] == field


@pytest.mark.parametrize("more", [{}, {"documents": ["a"], "texts": ["b"]}], ids=["neither", "both"])
def test_documents_and_texts_do_not_go_together(ranking, more):
    response = post(ranking, "/rerank", query="a", **more)
    assert response.status_code == 400
    assert "`documents`" in response.text and "`texts`" in response.text


def test_nothing_that_is_sent_breaks_it(ranking):
    common = {"query": [QUERY], "documents": [DOCUMENTS, [{"text": "good"}]], "top_n": [1, 9, None]}
    right = {
        "/score": {"pairs": [[{"query": QUERY, "document": DOCUMENTS[0]}]]},
        "/rerank": common | {"texts": [None], "return_text": [True], "raw_scores": [False]},
        "/v2/rerank": common | {"return_documents": [True, False]},
    }
    requests = [bodies(fields).map(lambda body, route=route: (route, body)) for route, fields in right.items()]
    assert statuses_of(ranking.url, st.one_of(requests)) == {200, 400}
    assert post(ranking, "/rerank", query=QUERY, texts=DOCUMENTS).json()[0]["index"] == 1


def test_the_document_has_each_endpoint_with_requests_that_work(ranking):
    paths = httpx.get(f"{ranking.url}/docs.json").json()["paths"]
    content = {
        route: paths[route]["post"]["requestBody"]["content"]["application/json"]
        for route in ("/score", "/rerank", "/v2/rerank")
    }
    example = content["/score"]["schema"]["properties"]["pairs"]["example"]
    assert len(post(ranking, "/score", pairs=example).json()) == len(example)
    answers = {
        (route, name): post(ranking, route, **shown["value"]).json()
        for route in ("/rerank", "/v2/rerank")
        for name, shown in content[route]["examples"].items()
    }
    assert {kind: type(answer) for kind, answer in answers.items()} == {
        ("/rerank", "Cohere"): dict,
        ("/rerank", "Text Embeddings Inference"): list,
        ("/v2/rerank", "Cohere"): dict,
    }
    assert {"results", "id"} < answers["/v2/rerank", "Cohere"].keys()
    limits = content["/rerank"]["schema"]["properties"]["texts"]
    assert (limits["maxItems"], limits["items"]["maxLength"]) == tuple(LIMITS.values())


def test_a_bento_of_it_has_the_right_service(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with model_store(home):
        assert cli.main(["build", RANKER]) == 0
        assert bentoml.bentos.get(RANKER).info.service == "service:TextRanking"
    assert "service   service:TextRanking," in capsys.readouterr().out
