"""16 clients, 128 tokens each, streaming and not: the TextGeneration service against vLLM's own server.

Both serve the same stored model with the same engine settings, and so does BentoML's other way to serve vLLM, a proxy
before its server (`__command__`). All three stay up for the whole run and get the same load in turns; an idle engine
takes no CPU. The load generator shares the cores with the server, as a sidecar would:

    make bench-llm
    python -m benchmarks.llm_service --model tiny-llama-autoround --turns 16 --output reports/bench-llm.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from examples.server import Server, bento, free_port, serve
from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.runtimes.vllm_settings import EngineSettings

OURS, PROXY, BARE = "quantbento", "proxy", "vLLM"
START_SECONDS = 600
WORDS = [
    "def",
    "class",
    "return",
    "import",
    "self",
    "for",
    "in",
    "if",
    "else",
    "while",
    "with",
    "lambda",
    "yield",
    "try",
]


@dataclass
class Turn:
    tokens_per_second: float
    first_token_ms: float
    cpu_ms_per_token: float  # of all the server's processes: what other work on the machine does not blur
    failed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-llama-autoround", help="tag in the model store")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128, help="per request")
    parser.add_argument("--requests", type=int, default=2, help="per client and turn")
    parser.add_argument("--turns", type=int, default=16, help="of each server, streaming and not")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    turns: dict[str, dict[str, list[Turn]]] = {mode: {OURS: [], PROXY: [], BARE: []} for mode in ("whole", "streaming")}
    with _servers(arguments.model) as servers:
        for number in range(-1, arguments.turns):  # the first is warm-up
            for mode, measured in turns.items():
                # Whoever goes first in one turn goes last in the next.
                for name in list(servers)[:: 1 if number % 2 == 0 else -1]:
                    turn = asyncio.run(_load(servers[name], arguments, mode == "streaming", number))
                    if number >= 0:
                        measured[name].append(turn)
                        print(f"turn {number + 1} {mode:<10}{name:<11}{turn.tokens_per_second:8.0f}", file=sys.stderr)
    _report(turns, arguments)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        figures = {m: {n: [asdict(t) for t in ts] for n, ts in measured.items()} for m, measured in turns.items()}
        arguments.output.write_text(json.dumps(figures, indent=2))
    return 0


@contextlib.contextmanager
def _servers(model: str) -> Iterator[dict[str, Server]]:
    """The three of them, started one after the other."""
    stored = store.find(model)
    engine = EngineSettings.model_validate(artifact.describe(stored.path)["runtime_config"].get("engine", {}))
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--model", str(stored.path), *engine.command_line()]
    inner = free_port()
    proxied = {"PROXIED_PORT": str(inner), "PROXIED_COMMAND": shlex.join([*command, "--port", str(inner)])}
    own = {"QUANTBENTO_MODEL": model, **engine.environment()}
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as stack:
        started = {
            OURS: (bento("service:TextGeneration"), own, "/readyz"),
            PROXY: (bento("benchmarks.vllm_proxy:Proxied"), own | proxied, "/health"),
            BARE: ([*command, "--port", "{port}"], own, "/health"),
        }
        servers = {}
        for name, (line, environment, probe) in started.items():
            log = Path(logs) / f"{name}.log"
            servers[name] = stack.enter_context(serve(line, environment, log, START_SECONDS, probe))
            print(f"{name} is ready", file=sys.stderr)
        yield servers


async def _load(server: Server, arguments: argparse.Namespace, streaming: bool, turn: int) -> Turn:
    first_tokens: list[float] = []
    failed = 0

    async def client(session: aiohttp.ClientSession, place: int) -> None:
        nonlocal failed
        for number in range(arguments.requests):
            start = place + 3 * number + 7 * turn
            prompt = " ".join(WORDS[(start + i * i) % len(WORDS)] for i in range(24))
            body = {"prompt": prompt, "max_tokens": arguments.tokens, "ignore_eos": True, "temperature": 0}
            sent = time.perf_counter()
            async with session.post("/v1/completions", json=body | {"stream": streaming}) as response:
                await response.content.readany()
                first_tokens.append(time.perf_counter() - sent)
                await response.read()
                failed += response.status != 200

    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        begin, cpu = time.perf_counter(), server.cpu_seconds()
        await asyncio.gather(*(client(session, place) for place in range(arguments.clients)))
        seconds, cpu = time.perf_counter() - begin, server.cpu_seconds() - cpu
    tokens = arguments.clients * arguments.requests * arguments.tokens
    return Turn(tokens / seconds, 1e3 * statistics.median(first_tokens), 1e3 * cpu / tokens, failed)


def _report(turns: dict[str, dict[str, list[Turn]]], arguments: argparse.Namespace) -> None:
    print(f"{arguments.clients} clients, {arguments.tokens} tokens per request, {arguments.turns} turns")
    for mode, measured in turns.items():
        print(f"\n{mode:<12}{'tokens/s':>20}{'first answer ms':>18}{'CPU ms/token':>15}{'failed':>8}")
        for name, ts in measured.items():
            speeds = [t.tokens_per_second for t in ts]
            spread = f"{statistics.median(speeds):.0f} ({min(speeds):.0f}-{max(speeds):.0f})"
            first, cpu = (statistics.median(getattr(t, f) for t in ts) for f in ("first_token_ms", "cpu_ms_per_token"))
            print(f"{name:<12}{spread:>20}{first:>18.0f}{cpu:>15.2f}{sum(t.failed for t in ts):>8}")
        for name in (OURS, PROXY):
            ratio, low, high = _ratio(measured[name], measured[BARE])
            print(f"{name} / {BARE}, all turns together: {ratio:.3f} (90 % of resampled runs: {low:.2f}-{high:.2f})")


def _ratio(ours: list[Turn], bare: list[Turn]) -> tuple[float, float, float]:
    """Tokens over seconds of all turns, against the other's. On a machine whose speed jumps between turns, single
    turns say little: a bootstrap over pairs of turns tells how much this says."""

    def ratio(pairs: list[tuple[Turn, Turn]]) -> float:
        seconds = [sum(1 / turn.tokens_per_second for turn in side) for side in zip(*pairs, strict=True)]
        return seconds[1] / seconds[0]

    pairs = list(zip(ours, bare, strict=True))
    chance = random.Random(0)
    resampled = statistics.quantiles((ratio(chance.choices(pairs, k=len(pairs))) for _ in range(2000)), n=20)
    return ratio(pairs), resampled[0], resampled[-1]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QuantbentoError as error:
        sys.exit(str(error))
