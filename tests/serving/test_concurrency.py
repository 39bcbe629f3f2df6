"""Too many requests at once are refused at once."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from quantbento.serving.concurrency import Concurrency


def asked(*paths: str) -> list[httpx.Response]:
    """What requests get that are under way at once, of an application that takes two."""

    async def slow(scope, receive, send):
        await asyncio.sleep(0.1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask():
        transport = httpx.ASGITransport(Concurrency(slow, 2))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*map(client.get, paths)) + [await client.get("/encode")]

    return asyncio.run(ask())


def test_what_is_too_much_is_429_with_when_to_come_back_and_later_ones_pass():
    answers = asked("/encode", "/encode", "/encode")
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200]
    assert answers[2].headers["retry-after"] == "1"
    assert "max_concurrency" in answers[2].json()["detail"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_always_pass(path):
    assert [a.status_code for a in asked("/encode", "/encode", path, path, path)] == [200] * 6
