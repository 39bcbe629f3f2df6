"""Versions change under load: an alias is followed, a canary gets its part, a shadow is compared, nothing fails."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from pathlib import Path

import aiohttp
import httpx
import pytest

import quantbento
from examples.server import Server, bento, serve
from quantbento.store import aliases
from tests.conftest import ROOT, model_store

pytestmark = [pytest.mark.slow, pytest.mark.server]
ITEM = [0.25, 0.5, 0.75, 1.0]
NAME = "two-tensor-onnx-int8"
CLIENTS = 32


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Two versions of one model, which differ in their weights' bits: `NAME:one`, which is `NAME:production` too, and
    `NAME:two`."""
    folder = tmp_path_factory.mktemp("versions")
    with model_store(folder / "bentoml") as home:
        for alias, quantizer in {"one": "onnx-dynamic", "two": "onnx-weights"}.items():
            recipe = {
                "schema_version": 1,
                "name": "two-tensor",
                "task": "tensor",
                "model": {"factory": "tests.tiny_tensor:model"},
                "evaluation": {"factory": "tests.tiny_tensor:samples"},
                "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
                "variants": [{"name": "onnx-int8", "quantizer": quantizer}],
            }
            report = quantbento.save(recipe, output=folder / "reports")
            assert report.exit_code == 0, report.variants
            aliases.promote(NAME, alias)
        aliases.promote(f"{NAME}:one", "production")
    return home


def tags(home: Path) -> tuple[str, str]:
    with model_store(home):
        return tuple(quantbento.store.find(f"{NAME}:{alias}").tag for alias in ("one", "two"))


def service(home: Path, log: Path, **settings: object):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment |= {f"QUANTBENTO_{key.upper()}": str(value) for key, value in settings.items()}
    return serve(bento("service:TensorModel"), environment, log / "server.log")


class Load:
    """What 32 clients get, by the version that answered, until it is stopped."""

    def __init__(self, server: Server) -> None:
        self.server, self.stopped = server, False
        self.statuses: Counter = Counter()
        self.models: Counter = Counter()

    async def client(self, session: aiohttp.ClientSession, number: int) -> None:
        while not self.stopped:
            headers = {"X-User": f"user-{number}-{sum(self.statuses.values())}"}
            async with session.post("/predict", json={"inputs": [ITEM]}, headers=headers) as response:
                await response.read()
                self.statuses[response.status] += 1
                self.models[response.headers["X-Model"]] += 1

    async def run(self, steps) -> None:
        async with aiohttp.ClientSession(self.server.url, connector=aiohttp.TCPConnector(limit=0)) as session:
            clients = [asyncio.create_task(self.client(session, number)) for number in range(CLIENTS)]
            await steps(self)
            self.stopped = True
            await asyncio.gather(*clients)

    async def until(self, tag: str, seconds: float = 15) -> float:
        """Waits until only that version answers; gives the seconds."""
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.models.clear()
            await asyncio.sleep(0.3)
            if set(self.models) == {tag}:
                return time.perf_counter() - start
        raise AssertionError(f"{tag} does not answer: {self.models}")


def test_a_promoted_version_and_a_rollback_answer_without_a_failed_request(home, tmp_path):
    one, two = tags(home)

    async def steps(load: Load) -> None:
        await load.until(one)
        with model_store(home):
            aliases.promote(f"{NAME}:two", "production")
        await load.until(two)
        assert httpx.get(f"{load.server.url}/info").json()["model"] == two
        with model_store(home):
            aliases.rollback(NAME, "production")
        await load.until(one)

    with service(home, tmp_path, model=f"{NAME}:production", follow="true") as server:
        load = Load(server)
        asyncio.run(load.run(steps))
    assert set(load.statuses) == {200}
    assert (tmp_path / "server.log").read_text().count("which answers from here on") == 2


@pytest.mark.parametrize("kind", ["random", "header"])
def test_a_canary_gets_its_part(home, tmp_path, kind):
    one, two = tags(home)
    by = {"route_type": "header", "route_by": "x-user"} if kind == "header" else {}

    async def steps(load: Load) -> None:
        while sum(load.statuses.values()) < 3000:
            await asyncio.sleep(0.1)

    with service(home, tmp_path, model=one, canary=two, weight=10, **by) as server:
        load = Load(server)
        asyncio.run(load.run(steps))
        counted = dict(re.findall(r'quantbento_model_requests_total{model="(.*?)"} ([\d.]+)', server.metrics()))
        assert httpx.get(f"{server.url}/info").json()["canary"] == two
    assert set(load.statuses) == {200}
    share = float(counted[two]) / (float(counted[one]) + float(counted[two]))
    assert abs(share - 0.1) < 0.03
    assert load.models[two] == float(counted[two])


def test_a_shadow_is_compared_and_never_shown(home, tmp_path):
    one, two = tags(home)

    async def steps(load: Load) -> None:
        while sum(load.statuses.values()) < 500:
            await asyncio.sleep(0.1)

    with service(home, tmp_path, model=one, shadow=two) as server:
        load = Load(server)
        asyncio.run(load.run(steps))
        metrics = server.metrics()
    assert set(load.statuses) == {200}
    assert set(load.models) == {one}
    count = float(re.search(rf'shadow_distance_count{{candidate="{two}",model="{one}"}} ([\d.]+)', metrics)[1])
    total = float(re.search(rf'shadow_distance_sum{{candidate="{two}",model="{one}"}} ([\d.]+)', metrics)[1])
    assert count > 10
    assert 0 < total / count < 0.2
