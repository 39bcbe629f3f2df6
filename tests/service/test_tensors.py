"""Tensors of any type over HTTP, in JSON and as NumPy files: right, batched with their like, and refused by name."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import httpx
import numpy as np
import pytest

import quantbento
from examples.server import bento, serve
from tests.conftest import ROOT, model_store
from tests.typed_tensor import recipe, sequences, typed_items

pytestmark = [pytest.mark.slow, pytest.mark.server]

FILE = "application/octet-stream"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("typed")
    with model_store(folder / "bentoml") as home:
        for name in ("pooled", "typed"):
            report = quantbento.save(recipe(name), output=folder / "reports")
            assert report.exit_code == 0, report.variants
    return home


def server_of(name, home, tmp_path_factory):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": f"{name}-int8"}
    return serve(bento("service:TensorModel"), environment, tmp_path_factory.mktemp("log") / "server.log")


@pytest.fixture(scope="module")
def pooled(home, tmp_path_factory):
    with server_of("pooled", home, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="module")
def typed(home, tmp_path_factory):
    with server_of("typed", home, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="module")
def expected(home):
    """What the stored models answer."""
    with model_store(home):
        return {
            "pooled": quantbento.load("pooled-int8")(sequences()),
            "typed": quantbento.load("typed-int8")(typed_items()),
        }


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(items) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.stack([item[name] for item in items]) for name in items[0]})
    return file.getvalue()


def send(server, content, accept="*/*") -> httpx.Response:
    headers = {"content-type": FILE, "accept": accept}
    return httpx.post(f"{server.url}/predict", content=content, headers=headers, timeout=30)


def listed(item):
    return {name: value.tolist() for name, value in item.items()} if isinstance(item, dict) else item.tolist()


async def all_at_once(url: str, items: list) -> list:
    async with aiohttp.ClientSession() as session:

        async def post(item):
            async with session.post(f"{url}/predict", json={"inputs": [listed(item)]}) as response:
                body = await response.json()
                assert response.status == 200, body
                return body[0]

        return await asyncio.gather(*map(post, items))


def test_sequences_of_any_length_and_images_of_any_size_are_answered_right_in_any_company(pooled, typed, expected):
    found = asyncio.run(all_at_once(pooled.url, sequences() * 20))
    np.testing.assert_allclose(found, expected["pooled"] * 20, atol=1e-5)
    answers = asyncio.run(all_at_once(typed.url, typed_items() * 20))
    for answer, wanted in zip(answers, expected["typed"] * 20, strict=True):
        np.testing.assert_allclose(answer["scores"], wanted["scores"], atol=1e-5)
        assert (answer["best"], answer["negative"]) == (wanted["best"], wanted["negative"].tolist())


def test_a_npy_is_several_items_of_the_only_input(pooled, expected):
    alike = [i for i, sequence in enumerate(sequences()) if len(sequence) == 5]
    body = npy(np.stack([sequences()[i] for i in alike]))
    wanted = [expected["pooled"][i] for i in alike]
    np.testing.assert_allclose(send(pooled, body).json(), wanted, atol=1e-5)
    response = send(pooled, body, accept=FILE)
    assert response.headers["content-type"] == FILE
    found = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert (found.dtype, found.shape) == (np.float32, (3, 3))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_npz_is_items_of_several_inputs_in_their_types(typed, expected):
    alike = [i for i, item in enumerate(typed_items()) if len(item["image"]) == 5]
    response = send(typed, npz([typed_items()[i] for i in alike]), accept=FILE)
    found = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert {name: found[name].dtype.name for name in found} == {
        "scores": "float32",
        "best": "int64",
        "negative": "uint8",
    }
    for name in found:
        np.testing.assert_allclose(found[name], [expected["typed"][i][name] for i in alike], atol=1e-5)


WRONG = {
    "another shape": ({"image": [1, 2]}, "item 0: image must have shape (any, any), not (2,)"),
    "nothing": ({"image": []}, "image must have shape (any, any), not (0,)"),
    "out of range": ({"image": [[300]]}, "image must be from 0 to 255 (uint8): it holds 300"),
    "no integer": ({"ids": [1, 2, 3, 1.5]}, "ids must be whole numbers (int64): it holds 1.5"),
    "too large": ({"ids": [1, 2, 3, 2**64]}, "ids must be from -9223372036854775808 to 9223372036854775807 (int64)"),
    "no boolean": ({"on": 7}, "on must be true or false: it holds 7"),
    "no number": ({"rate": "fast"}, "rate must be numbers of shape (), and is not"),
    "another name": ({"speed": 1}, "has inputs ['ids', 'image', 'on', 'rate', 'speed']; needed are"),
}


@pytest.mark.parametrize(("changed", "said"), WRONG.values(), ids=WRONG)
def test_what_an_input_does_not_take_is_400_with_its_name(typed, changed, said):
    item = listed(typed_items()[0]) | changed
    response = httpx.post(f"{typed.url}/predict", json={"inputs": [item]})
    assert response.status_code == 400
    assert said in response.json()["errors"][0]["msg"]


def test_what_a_file_cannot_be_is_400(typed, pooled):
    for server, body, said in [
        (typed, npy(np.zeros((1, 4))), "item 0: must be a mapping with the inputs ['ids', 'image', 'on', 'rate']"),
        (typed, npz([{k: v for k, v in typed_items()[0].items() if k != "on"}]), "needed are"),
        (pooled, npy(np.zeros((2, 5, 3))), "item 0: steps must have shape (any, 4), not (5, 3)"),
        (pooled, npy(np.full((2, 5, 4), np.nan)), "item 0: steps must be finite in float32"),
        (pooled, npy(np.zeros((65, 1, 4))), "the body holds 65 items; from 1 to 64 are taken"),
        (pooled, npy(np.array([{}])), "Python objects, which are not unpickled"),
    ]:
        response = send(server, body)
        assert (response.status_code, said in response.text) == (400, True), response.text


def test_answers_that_are_no_one_array_are_406_for_who_wants_one(typed):
    items = [listed(item) for item in typed_items()[:2]]
    response = httpx.post(f"{typed.url}/predict", json={"inputs": items}, headers={"accept": FILE})
    assert response.status_code == 406
    assert "different shapes. Ask for application/json" in response.text


def test_a_large_file_is_413(pooled):
    assert send(pooled, b"x" * 8_000_001).status_code == 413
    assert send(pooled, iter([b"x" * 1_000_000] * 9)).status_code == 413


def test_the_document_says_which_sizes_are_free_and_that_files_are_taken(typed):
    operation = httpx.get(f"{typed.url}/docs.json").json()["paths"]["/predict"]["post"]
    assert "octet-stream" in operation["description"]
    content = operation["requestBody"]["content"]
    assert content[FILE]["schema"]["format"] == "binary"
    item = content["application/json"]["schema"]["properties"]["inputs"]["items"]["properties"]
    assert "maxItems" not in item["image"] and "maxItems" not in item["image"]["items"]
    assert item["image"]["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
    assert (item["ids"]["minItems"], item["ids"]["maxItems"]) == (4, 4)
    assert (item["on"]["type"], item["rate"]["type"]) == ("boolean", "number")
