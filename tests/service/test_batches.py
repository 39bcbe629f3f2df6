"""Real `bentoml serve` processes, asked over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import re

import aiohttp
import bentoml
import httpx
import numpy as np
import openai
import pytest

import quantbento
from examples.server import bento, serve
from tests.conftest import ROOT, labelled_texts, model_store

pytestmark = [pytest.mark.slow, pytest.mark.server]


def service(name: str, model: str, home, tmp_path_factory, **settings: str):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": model}
    environment |= {f"QUANTBENTO_{key.upper()}": value for key, value in settings.items()}
    return serve(bento(f"service:{name}"), environment, tmp_path_factory.mktemp("log") / "server.log")


@pytest.fixture(scope="module")
def embedding(served_home, tmp_path_factory):
    limits = {"max_items": "16", "max_characters": "300", "max_body_bytes": "20000"}
    with service("Embedding", "tiny-encoder-onnx-int8", served_home, tmp_path_factory, **limits) as server:
        yield server


@pytest.fixture(scope="module")
def classification(served_home, tmp_path_factory):
    with service("TextClassification", "tiny-classifier-torch-int8", served_home, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="module")
def tensors(served_home, tmp_path_factory):
    with service("TensorModel", "tiny-tensor-onnx-int8", served_home, tmp_path_factory) as server:
        yield server


def load(home, tag):
    with model_store(home):
        return quantbento.load(tag)


async def post_all(url: str, bodies: list[dict], clients: int) -> list[tuple[int, object]]:
    """Status and body of every request, in order, with so many under way at once."""
    gate = asyncio.Semaphore(clients)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(body: dict) -> tuple[int, object]:
            async with gate, session.post(url, json=body) as response:
                return response.status, await response.json()

        return await asyncio.gather(*map(post, bodies))


def test_64_clients_are_batched_and_get_the_answers_they_would_get_alone(embedding, served_home):
    texts, _ = labelled_texts(640, seed=11)
    answers = asyncio.run(post_all(f"{embedding.url}/encode", [{"texts": [t]} for t in texts], clients=64))
    assert {status for status, _ in answers} == {200}
    alone = load(served_home, "tiny-encoder-onnx-int8")
    expected = np.stack([alone([text])[0] for text in texts])
    np.testing.assert_array_equal(np.asarray([body[0] for _, body in answers], np.float32), expected)
    total, batches = (
        sum(float(v) for v in re.findall(rf"quantbento_batch_items_{kind}{{.*?}} ([\d.e+]+)", embedding.metrics()))
        for kind in ("sum", "count")
    )
    assert total >= 640
    assert total / batches > 2


def test_vectors_come_as_a_numpy_file_where_one_is_asked_for(embedding):
    texts = ["the film was good", "a very dull book"]
    answer, plain = (
        httpx.post(f"{embedding.url}/encode", json={"texts": texts}, headers=headers)
        for headers in ({"Accept": "application/octet-stream"}, {})
    )
    assert answer.headers["content-type"] == "application/octet-stream"
    vectors = np.load(io.BytesIO(answer.content))
    assert (vectors.dtype, vectors.shape) == (np.float32, (2, 32))
    np.testing.assert_array_equal(vectors, np.asarray(plain.json(), np.float32))
    wrong = httpx.post(f"{embedding.url}/encode", json={"texts": [""]}, headers={"Accept": "application/octet-stream"})
    assert (wrong.status_code, wrong.headers["content-type"]) == (400, "application/problem+json")
    file = {"content-type": "application/octet-stream"}
    assert httpx.post(f"{embedding.url}/encode", content=b"x", headers=file).status_code == 415


def test_bentomls_own_batches_give_the_same_answers(embedding, served_home, tmp_path_factory):
    texts, _ = labelled_texts(64, seed=14)
    bodies = [{"texts": [text]} for text in texts]
    own = asyncio.run(post_all(f"{embedding.url}/encode", bodies, clients=16))
    with service("Embedding", "tiny-encoder-onnx-int8", served_home, tmp_path_factory, batching="bentoml") as server:
        bentomls = asyncio.run(post_all(f"{server.url}/encode", bodies, clients=16))
        openais = {"model": "m", "input": texts[:3]}
        given = httpx.post(f"{server.url}/v1/embeddings", json=openais).json()["data"]
        wrong = httpx.post(f"{server.url}/encode", json={"texts": [" "]})
    assert bentomls == own
    np.testing.assert_allclose([d["embedding"] for d in given], [own[i][1][0] for i in range(3)], atol=1e-6)
    assert (wrong.status_code, wrong.headers["content-type"]) == (400, "application/problem+json")


def test_the_bentoml_client_works_unchanged(embedding):
    with bentoml.SyncHTTPClient(embedding.url) as client:
        one, two = client.encode(texts=["the film was good", "a very dull book"])
    assert len(one) == len(two) == 32
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)


def test_the_openai_client_works_unchanged(embedding, served_home):
    client = openai.OpenAI(base_url=f"{embedding.url}/v1", api_key="unused", max_retries=0)
    texts = ["the film was good", "a very dull book"]
    given = client.embeddings.create(model="any", input=texts)
    expected = np.stack(load(served_home, "tiny-encoder-onnx-int8")(texts))
    np.testing.assert_allclose([d.embedding for d in given.data], expected, atol=1e-6)
    assert given.usage.prompt_tokens == 6 + 6
    assert len(client.embeddings.create(model="any", input="good", encoding_format="float").data) == 1
    assert len(client.embeddings.create(model="any", input="good", dimensions=32).data[0].embedding) == 32
    with pytest.raises(openai.BadRequestError, match="embeddings have 32"):
        client.embeddings.create(model="any", input="good", dimensions=16)
    with pytest.raises(openai.BadRequestError, match="must not be empty"):
        client.embeddings.create(model="any", input=["good", " "])


def test_as_many_openai_requests_as_are_allowed_at_once_are_batched_and_none_fails(embedding):
    texts, _ = labelled_texts(512, seed=12)
    bodies = [{"model": "m", "input": text} for text in texts]
    answers = asyncio.run(post_all(f"{embedding.url}/v1/embeddings", bodies, clients=256))
    assert {status for status, _ in answers} == {200}


WRONG = {
    "no texts": ({}, 400, "texts"),
    "empty list": ({"texts": []}, 400, "at least 1 item"),
    "too many": ({"texts": ["a"] * 17}, 400, "at most 16 items"),
    "too long": ({"texts": ["a" * 301]}, 400, "at most 300 characters"),
    "empty text": ({"texts": ["good", ""]}, 400, "at least 1 character"),
    "blank text": ({"texts": ["good", "  "]}, 400, "item 1: must not be empty"),
    "not a string": ({"texts": [1]}, 400, "valid string"),
    "too large": ({"texts": ["a"], "padding": "x" * 20000}, 413, "max_body_bytes"),
}


@pytest.mark.parametrize(("body", "status", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_4xx_with_the_field_and_the_limit(embedding, body, status, said):
    response = httpx.post(f"{embedding.url}/encode", json=body)
    assert response.status_code == status
    assert said in response.text


@pytest.mark.parametrize("raw", [b"{", b'{"texts": ["\\ud800"]}', b"\xff\xfe", b'{"texts": [NaN]}'])
def test_a_malformed_body_is_400(embedding, raw):
    response = httpx.post(f"{embedding.url}/encode", content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_a_bad_request_never_fails_a_good_one(embedding):
    good, bad = {"texts": ["the plot was fine"]}, {"texts": ["good", " "]}
    answers = asyncio.run(post_all(f"{embedding.url}/encode", [good, bad] * 100, clients=64))
    assert [status for status, _ in answers] == [200, 400] * 100


def test_openapi_describes_the_limits(embedding):
    paths = httpx.get(f"{embedding.url}/docs.json").json()
    texts = paths["components"]["schemas"]["encode__Input"]["properties"]["texts"]
    assert (texts["maxItems"], texts["items"]["maxLength"]) == (16, 300)
    assert "/v1/embeddings" in paths["paths"]


def test_swagger_shows_a_request_that_works(embedding):
    """Swagger reads `example`: OpenAPI 3.0 has no `examples` in a schema."""
    docs = httpx.get(f"{embedding.url}/docs.json").json()
    assert docs["openapi"].startswith("3.0.")
    for path, field in {"/encode": "texts", "/v1/embeddings": "input"}.items():
        body = docs["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        example = body["properties"][field]["example"]
        assert httpx.post(embedding.url + path, json={field: example}).status_code == 200
    assert docs["components"]["schemas"]["encode__Input"]["properties"]["texts"]["example"]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/metrics"])
def test_probes_answer(embedding, path):
    assert httpx.get(embedding.url + path).status_code == 200


def test_classification_answers_as_the_loaded_model_does(classification, served_home):
    texts, labels = labelled_texts(24, seed=13)
    answers = httpx.post(f"{classification.url}/classify", json={"texts": texts}).json()
    assert [a["label"] for a in answers] == ["positive" if label else "negative" for label in labels]
    expected = load(served_home, "tiny-classifier-torch-int8")(texts)
    assert [a["score"] for a in answers] == pytest.approx([e["score"] for e in expected], abs=1e-6)


def test_tensors_are_preprocessed_once_and_answered_alike_in_any_company(tensors, served_home):
    items = np.random.default_rng(1).normal(size=(200, 4)).round(3).tolist()
    answers = asyncio.run(post_all(f"{tensors.url}/predict", [{"inputs": [i]} for i in items], clients=64))
    expected = load(served_home, "tiny-tensor-onnx-int8")(items)
    np.testing.assert_allclose([body[0] for _, body in answers], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("item", "said"), [([1, 2], "shape (4,), not (2,)"), ([1, 2, 3, "x"], "item 0"), ([1, 2, 3, 1e39], "finite")]
)
def test_a_wrong_tensor_is_400_with_the_shape(tensors, item, said):
    response = httpx.post(f"{tensors.url}/predict", content=json.dumps({"inputs": [item]}))
    assert response.status_code == 400
    assert said in response.text
