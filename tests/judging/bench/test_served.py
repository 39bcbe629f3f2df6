"""A service under load: a stand-in that streams, and a real one."""

from __future__ import annotations

import asyncio
import json

import pytest

from quantbento import cli
from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench import served
from quantbento.judging.bench.endpoint import Endpoint


def asked(handler, endpoint: dict, settings: served.Settings) -> list[dict]:
    """What is measured of an aiohttp server whose only handler answers everything."""
    from aiohttp import web

    async def run() -> list[dict]:
        app = web.Application()
        app.router.add_post("/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        target = Endpoint(url=f"http://127.0.0.1:{port}", model="m:1", **endpoint)
        try:
            return await served._measure(target, settings, lambda done, total: None)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


LISTS = {"task": "x", "path": "/encode", "field": "texts", "schema": {"items": {"type": "string"}}}
TEXTS = {"task": "text-generation", "path": "/generate", "field": "prompt", "schema": {"type": "string"}}


def test_lists_of_inputs():
    from aiohttp import web

    sizes = []

    async def answer(request: web.Request) -> web.Response:
        sizes.append(len((await request.json())["texts"]))
        assert request.headers["authorization"] == "Bearer k"
        return web.json_response([])

    settings = served.Settings([2], [20], 0.3, items=3, headers={"authorization": "Bearer k"})
    closed, opened = asked(answer, LISTS, settings)
    assert set(sizes) == {3}
    assert (closed["mode"], closed["clients"], opened["mode"], opened["rate"]) == ("closed", 2, "open", 20)
    assert closed["throughput"] == pytest.approx(3 * closed["requests"] / closed["seconds"])
    assert closed["failed"] == opened["failed"] == 0
    assert len(sizes) == closed["requests"] + opened["requests"] + served.WARM_UP


def test_streamed_texts_by_the_token():
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert (request.path, body["max_tokens"], body["model"]) == ("/v1/completions", 3, "m:1")
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.05)
        for text in "abc":
            await response.write(f"data: {json.dumps({'choices': [{'text': text}]})}\n\n".encode())
            await asyncio.sleep(0.02)
        usage = {"choices": [], "usage": {"completion_tokens": 3}}
        await response.write(f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode())
        return response

    [run] = asked(answer, TEXTS, served.Settings([1], seconds=0.5, new_tokens=3))
    assert 50 <= run["time_to_first_token_ms"]["p50"] < 500
    assert 20 <= run["inter_token_ms"]["p50"] < 200
    assert run["throughput"] == pytest.approx(3 * run["requests"] / run["seconds"])


def test_what_is_refused_is_told_before_anything_is_measured():
    from aiohttp import web

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=422)

    with pytest.raises(QuantbentoError, match=r"refuses the request that was made up: 422\. Name inputs of yours"):
        asked(refuse, LISTS, served.Settings([1]))


def test_notes_on_figures():
    good = {"client_cpu": 0.1, "failed": 0, "requests": 100}
    assert served.notes([good]) == []
    assert "the client itself was busy" in served.notes([good | {"client_cpu": 0.9}])[0]
    assert "more than 1 %" in served.notes([good | {"failed": 2}])[0]


@pytest.mark.slow
@pytest.mark.server
def test_a_real_service(served_home, tmp_path, capsys, monkeypatch):
    from examples.server import bento, serve
    from tests.conftest import model_store

    tag = "tiny-encoder-onnx-int8"
    environment = {"BENTOML_HOME": str(served_home), "QUANTBENTO_MODEL": tag}
    with model_store(served_home), serve(bento(), environment, tmp_path / "log") as server:
        words = ["bench", "--url", server.url, "--clients", "2", "--rate", "10", "--seconds", "1"]
        assert cli.main([*words, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "tiny-encoder" / "bench.json").read_text())
    closed, opened = found["served"]
    assert (closed["endpoint"], closed["unit"]) == ("/encode", "inputs/s")
    assert closed["model"].startswith(f"{tag}:")
    for run in (closed, opened):
        assert run["failed"] == 0
        assert 0 < run["latency_ms"]["p50"] <= run["latency_ms"]["p99"] < 5000
    assert opened["requests"] <= 30
    assert "2 clients" in capsys.readouterr().out
