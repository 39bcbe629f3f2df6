"""A running service under load: throughput, latency and failures, for several numbers of clients or several rates."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench.endpoint import JSON, Endpoint
from quantbento.judging.bench.load import OK, Answer, Run, Send, closed_loop, open_loop

TIMEOUT_SECONDS = 30.0  # a request that is not answered by then has failed
WARM_UP = 8  # requests before anything is counted
COMPLETIONS = "/v1/completions"
BUSY = 0.8  # of a core: a client that computes more measures itself


@dataclass(frozen=True)
class Settings:
    """
    Attributes:
        clients: numbers of clients of closed loops.
        rates: requests per second of open loops.
        seconds: of each of them.
        items: inputs of a request.
        new_tokens: that a language model adds to each prompt.
        samples: the user's inputs; made up where there are none.
        headers: of each request.
    """

    clients: Sequence[int] = ()
    rates: Sequence[float] = ()
    seconds: float = 10
    items: int = 1
    new_tokens: int = 32
    samples: Sequence[Any] = ()
    headers: dict[str, str] = field(default_factory=dict)


def measure(
    endpoint: Endpoint, settings: Settings, on_run: Callable[[int, int], None] = lambda done, total: None
) -> list[dict[str, Any]]:
    """One entry of `served` in bench.json for each number of clients and each rate.

    Raises:
        QuantbentoError: the service refuses what it is asked, before anything is measured.
    """
    return asyncio.run(_measure(endpoint, settings, on_run))


def notes(runs: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader of the figures has to know."""
    found = []
    if any(run["client_cpu"] > BUSY for run in runs):
        found.append("the client itself was busy; the service may be faster than these figures. Use several machines")
    if any(run["failed"] > 0.01 * run["requests"] for run in runs):
        found.append("more than 1 % of the requests failed; latencies are those of the others")
    return found


async def _measure(endpoint: Endpoint, settings: Settings, on_run: Callable[[int, int], None]) -> list[dict[str, Any]]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    headers = {"content-type": JSON, **settings.headers}
    everyone = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=everyone, timeout=timeout, headers=headers) as session:
        send = _streams(session, endpoint, settings) if endpoint.generates else _posts(session, endpoint, settings)
        for number in range(WARM_UP):
            await _check(await send(-1 - number), endpoint)
        loops: list[tuple[dict[str, Any], Any]] = [
            *(
                ({"mode": "closed", "clients": n}, lambda n=n: closed_loop(send, n, settings.seconds))
                for n in settings.clients
            ),
            *(({"mode": "open", "rate": r}, lambda r=r: open_loop(send, r, settings.seconds)) for r in settings.rates),
        ]
        found = []
        for done, (said, loop) in enumerate(loops):
            run: Run = await loop()
            found.append(_entry(endpoint, settings) | said | run.report())
            on_run(done + 1, len(loops))
    return found


def _entry(endpoint: Endpoint, settings: Settings) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "endpoint": COMPLETIONS if endpoint.generates else endpoint.path,
        "model": endpoint.model,
        "task": endpoint.task,
        "unit": "tokens/s" if endpoint.generates else "inputs/s",
        "items_per_request": 1 if endpoint.generates else settings.items,
    }


async def _check(answer: Answer, endpoint: Endpoint) -> None:
    if answer.status != OK:
        raise QuantbentoError(
            f"{endpoint.url} refuses the request that was made up: {answer.status}. "
            "Name inputs of yours: --samples FILE"
        )


def _posts(session: Any, endpoint: Endpoint, settings: Settings) -> Send:
    """Sends lists of inputs, and reads whole answers."""
    items = endpoint.items(settings.samples)
    size = settings.items
    bodies = [
        json.dumps({endpoint.field: [items[(start + i) % len(items)] for i in range(size)]}).encode()
        for start in range(0, len(items), max(1, size // 4))
    ]
    address = endpoint.url + endpoint.path

    async def send(number: int) -> Answer:
        return await _guarded(_post(session, address, bodies[number % len(bodies)], size))

    return send


async def _post(session: Any, address: str, body: bytes, size: int) -> Answer:
    async with session.post(address, data=body) as response:
        await response.read()
        return Answer(str(response.status), size)


def _streams(session: Any, endpoint: Endpoint, settings: Settings) -> Send:
    """Sends prompts, and reads texts as they come."""
    prompts = endpoint.items(settings.samples)
    address = endpoint.url + COMPLETIONS

    async def send(number: int) -> Answer:
        body = {
            "model": endpoint.model,
            "prompt": prompts[number % len(prompts)],
            "max_tokens": settings.new_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return await _guarded(_stream(session, address, json.dumps(body).encode()))

    return send


async def _stream(session: Any, address: str, body: bytes) -> Answer:
    start = time.perf_counter()
    first = last = start
    tokens = pieces = 0
    async with session.post(address, data=body) as response:
        if response.status != int(OK):
            await response.read()
            return Answer(str(response.status))
        async for line in response.content:
            if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                continue
            event = json.loads(line[5:])
            if "error" in event:
                return Answer("error while streaming")
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            if event.get("choices"):
                last = time.perf_counter()
                first = first if pieces else last
                pieces += 1
    if not pieces:
        return Answer("no text")
    tokens = tokens or pieces
    return Answer(OK, tokens, first - start, (last - first) / (tokens - 1) if tokens > 1 else None)


async def _guarded(request: Any) -> Answer:
    """The answer, or what kept it from coming."""
    import aiohttp

    try:
        return await request
    except TimeoutError:
        return Answer(f"no answer in {TIMEOUT_SECONDS:.0f} s")
    except (aiohttp.ClientError, OSError) as error:
        return Answer(type(error).__name__)
