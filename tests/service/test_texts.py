"""Entities, several labels and numbers of texts over HTTP: right in any company, refused by name, described, built."""

from __future__ import annotations

import asyncio
from pathlib import Path

import bentoml
import httpx
import pytest

from quantbento import cli
from tests.conftest import NEGATIVE, POSITIVE, model_store
from tests.stored_texts import all_at_once, bodies, load, save_text_model, server_of, statuses_of
from tests.trained_heads import TOPICS, graded, tagged, topical, write_regression

pytestmark = [pytest.mark.slow, pytest.mark.server]

TAGGER, TOPICAL, GRADED = "tiny-tagger-onnx-int8", "tiny-multi-label-onnx-int8", "tiny-regression-onnx-int8"
SERVICES = {TAGGER: "TokenClassification", TOPICAL: "TextClassification", GRADED: "TextClassification"}
ROUTES = {TAGGER: "/entities", TOPICAL: "/classify", GRADED: "/classify"}
CLASSIFICATION, LEAST = "text-classification", 0.75
LIMITS = {"max_items": 64, "max_characters": 1000}
each = pytest.mark.parametrize("tag", SERVICES)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_tagger, tiny_multi_label):
    folder = tmp_path_factory.mktemp("texts")
    words, several = {"columns": {"text": "tokens", "label": "ner_tags"}}, {"label": "labels"}
    number = write_regression(folder / "model")
    with model_store(folder / "bentoml") as home:
        made = [
            save_text_model(folder, "tiny-tagger", "token-classification", tiny_tagger, tagged(16, 5), words),
            save_text_model(
                folder, "tiny-multi-label", CLASSIFICATION, tiny_multi_label, topical(16, 6), several, threshold=LEAST
            ),
            save_text_model(folder, "tiny-regression", CLASSIFICATION, number, graded(16, 7)),
        ]
    assert made == [TAGGER, TOPICAL, GRADED]
    return home


@pytest.fixture(scope="module")
def servers(home, tmp_path_factory):
    """One for each model, by its tag."""
    log = tmp_path_factory.mktemp("log")
    with (
        server_of(SERVICES[TAGGER], TAGGER, home, log, **LIMITS) as tagger,
        server_of(SERVICES[TOPICAL], TOPICAL, home, log, **LIMITS) as multi_label,
        server_of(SERVICES[GRADED], GRADED, home, log, **LIMITS) as regression,
    ):
        yield {TAGGER: tagger, TOPICAL: multi_label, GRADED: regression}


def post(servers, tag: str, **body) -> httpx.Response:
    return httpx.post(f"{servers[tag].url}{ROUTES[tag]}", json=body, timeout=30)


def about(answer):
    """Equal, but for the company that a text was batched with."""
    if isinstance(answer, dict):
        return answer | {"score": pytest.approx(answer["score"], abs=1e-5)}
    return [about(one) for one in answer]


TEXTS = [" ".join(row["tokens"]) for row in tagged(40, seed=21)] + [row["text"] for row in topical(40, seed=22)]


@each
def test_texts_are_answered_as_the_loaded_model_does(servers, home, tag):
    expected = load(home, tag)(TEXTS[:64])
    assert post(servers, tag, texts=TEXTS[:64]).json() == about(expected)


@each
def test_texts_of_many_requests_at_once_get_their_own_answers(servers, home, tag):
    """Answers are lists of any length here, which batches are cut into."""
    url = f"{servers[tag].url}{ROUTES[tag]}"
    answers = asyncio.run(all_at_once(url, [{"texts": [text]} for text in TEXTS * 2]))
    assert answers == [[about(answer)] for answer in load(home, tag)(TEXTS * 2)]


@each
def test_the_end_of_a_text_that_is_too_long_is_cut(servers, tag):
    """64 tokens, of which two frame; each word is one."""
    words = ["the", "good", "film"] * 20 + ["was", "good"]
    kept, longer = " ".join(words), " ".join([*words, *["bad"] * 50])
    short, long = post(servers, tag, texts=[kept, longer]).json()
    assert long == about(short)


def test_entities_are_found_where_they_are(servers):
    """Places are characters: of the text as it was sent, not of its bytes."""
    text = f"the film was {POSITIVE[0]} , ☕ \U0001f600 and the book was very {NEGATIVE[1]}"
    [entities] = post(servers, TAGGER, texts=[text]).json()
    assert [entity["entity_group"] for entity in entities] == ["GOOD", "BAD"]
    assert [text[entity["start"] : entity["end"]] for entity in entities] == [POSITIVE[0], NEGATIVE[1]]
    assert {frozenset(entity) for entity in entities} == {frozenset({"entity_group", "score", "word", "start", "end"})}


def test_each_text_has_any_number_of_labels(servers):
    with bentoml.SyncHTTPClient(servers[TOPICAL].url) as client:
        answers = client.classify(texts=TEXTS[:64])
    assert {len(answer) for answer in answers} >= {0, 1, 2}
    for answer in answers:
        scores = [label["score"] for label in answer]
        assert {label["label"] for label in answer} <= set(TOPICS)
        assert scores == sorted(scores, reverse=True)
        assert min(scores, default=1) >= LEAST


def test_a_regression_answers_with_its_number(servers):
    low, high = post(servers, GRADED, texts=["bad awful poor the", "good great lovely the"]).json()
    assert low["label"] == high["label"] == "grade"
    assert low["score"] < -1 < 1 < high["score"]


LONG = "a" * (LIMITS["max_characters"] + 1)
WRONG = {
    "nothing": {},
    "another name": {"text": "good"},
    "null": {"texts": None},
    "no list": {"texts": "good"},
    "empty": {"texts": []},
    "a number": {"texts": ["good", 1]},
    "an empty text": {"texts": ["good", ""]},
    "a blank text": {"texts": [" "]},
    "words": {"texts": [["good", "film"]]},
    "too many": {"texts": ["a"] * (LIMITS["max_items"] + 1)},
    "too long": {"texts": [LONG]},
}


@each
@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_wrong_input_is_400_with_the_field(servers, tag, body):
    response = post(servers, tag, **body)
    assert response.status_code == 400, response.text
    assert response.json()["errors"][0]["loc"][0] == "texts"


@each
def test_nothing_that_is_sent_breaks_it(servers, tag):
    requests = bodies({"texts": [TEXTS[:2], ["☕"]]}).map(lambda body: (ROUTES[tag], body))
    assert statuses_of(servers[tag].url, requests, count=100) == {200, 400}
    assert post(servers, tag, texts=TEXTS[:3]).status_code == 200


@each
def test_the_document_has_a_request_that_works_and_the_answers_shape(servers, tag):
    operation = httpx.get(f"{servers[tag].url}/docs.json").json()["paths"][ROUTES[tag]]["post"]
    texts = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["texts"]
    assert (texts["maxItems"], texts["items"]["maxLength"]) == tuple(LIMITS.values())
    response = post(servers, tag, texts=texts["example"])
    assert response.status_code == 200
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["items"]
    assert answer["type"] == ("object" if tag == GRADED else "array")
    properties = (answer if tag == GRADED else answer["items"])["properties"]
    given = post(servers, tag, texts=["the film was good"]).json()[0]
    assert properties.keys() == (given if tag == GRADED else given[0]).keys()


@each
def test_a_bento_of_it_has_the_right_service(home, tag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with model_store(home):
        assert cli.main(["build", tag]) == 0
        built = bentoml.bentos.get(tag)
        requirements = Path(built.path, "env/python/requirements.txt").read_text()
        assert [str(model.tag) for model in built.info.all_models] == [str(bentoml.models.get(tag).tag)]
    assert f"service   service:{SERVICES[tag]}," in capsys.readouterr().out
    assert built.info.service == f"service:{SERVICES[tag]}"
    assert "tokenizers==" in requirements
    assert "torch==" not in requirements
