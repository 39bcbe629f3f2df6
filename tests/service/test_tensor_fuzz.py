"""Whatever is sent to `/predict`, in JSON or as a NumPy file: what is right is answered right, what is wrong is told
so, nothing breaks the server, and its memory stays flat."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import quantbento
from examples.server import bento, serve
from tests.conftest import ROOT, model_store
from tests.service.tensor_requests import MAX_BODY, MAX_ITEMS, Asked, as_json, requests
from tests.typed_tensor import mixed_items, recipe, sequences

pytestmark = [pytest.mark.slow, pytest.mark.server]

MB = 1_000_000
MODELS = ("mixed", "pooled")
LONGEST_ERROR = 3_000  # characters: what was sent is not sent back


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    with model_store(folder / "bentoml") as home:
        for name in MODELS:
            report = quantbento.save(recipe(name), output=folder / "reports")
            assert report.exit_code == 0, report.variants
    return home


@pytest.fixture(scope="module")
def loaded(home):
    """The stored models, in this process."""
    with model_store(home):
        return {name: quantbento.load(f"{name}-int8") for name in MODELS}


@pytest.fixture(scope="module")
def servers(home, tmp_path_factory):
    limits = {"QUANTBENTO_MAX_ITEMS": str(MAX_ITEMS), "QUANTBENTO_MAX_BODY_BYTES": str(MAX_BODY)}
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), **limits}
    log = tmp_path_factory.mktemp("log")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                serve(
                    bento("service:TensorModel"),
                    environment | {"QUANTBENTO_MODEL": f"{name}-int8"},
                    log / f"{name}.log",
                )
            )
            for name in MODELS
        }


def check(asked: Asked, response: httpx.Response, loaded) -> None:
    """Whether the answer is what the request deserves."""
    told = f"{response.status_code} {response.text[:500]} for {asked}"
    assert response.status_code < 500, told
    if asked.items is not None:
        assert response.status_code == 200, told
        same(response.json(), loaded[asked.model](asked.items))
    elif response.status_code != 200:
        assert len(response.text) < LONGEST_ERROR, told
        assert response.json(), told
    if asked.said:
        assert response.status_code in (400, 413, 422), told
        assert any(said in response.text for said in asked.said), told


def same(found: list, expected: list) -> None:
    assert len(found) == len(expected)
    for answer, wanted in zip(found, expected, strict=True):
        if isinstance(wanted, dict):
            np.testing.assert_allclose(answer["scores"], wanted["scores"], rtol=1e-5, atol=1e-5)
            assert answer["best"] == wanted["best"]
        else:
            np.testing.assert_allclose(answer, wanted, rtol=1e-5, atol=1e-5)


def test_no_request_breaks_the_service_and_memory_stays_flat(servers, loaded):
    statuses, sent = [], set()
    with httpx.Client(timeout=60) as client:

        @settings(
            max_examples=700,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(requests)
        def ask(asked):
            headers = {"content-type": asked.media_type.encode()}
            response = client.post(f"{servers[asked.model].url}/predict", content=asked.content, headers=headers)
            statuses.append(response.status_code)
            sent.add((asked.model, asked.content, asked.media_type))
            check(asked, response, loaded)

        ask()
        assert len(sent) >= 500
        assert {200, 400, 413, 415, 422} <= set(statuses)
        before = resident(servers)
        ask()  # the same again: what is allocated once has been
        grown = resident(servers) - before
    assert grown < 20 * MB, f"{grown / MB:.0f} MB after {len(statuses)} requests"
    for name, items in {"mixed": mixed_items(), "pooled": sequences()}.items():
        answers = httpx.post(f"{servers[name].url}/predict", content=as_json(as_lists(items))).json()
        same(answers, loaded[name](items))
        assert httpx.get(f"{servers[name].url}/readyz").status_code == 200


def as_lists(items: list) -> list:
    return [
        {name: np.asarray(v).tolist() for name, v in item.items()} if isinstance(item, dict) else item.tolist()
        for item in items
    ]


def resident(servers) -> int:
    """Bytes in memory of all servers and their children."""
    roots = [psutil.Process(server.process.pid) for server in servers.values()]
    return sum(p.memory_info().rss for root in roots for p in [root, *root.children(recursive=True)])
