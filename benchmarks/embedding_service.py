"""64 clients, one sentence per request, of varied length: the Embedding service against plain FastAPI.

Both serve the same stored INT8 artifact, each alone, in turns within one run; the figures are medians over the
turns. The load generator shares the cores with the server, as a sidecar would. Run after
`python save_models.py configs/minilm.yaml`:

    make bench
    python -m benchmarks.embedding_service --turns 5 --seconds 8 --output reports/bench.json
    PLAIN_THREADS=1 make bench      the peer tuned: ONNX Runtime with one thread per request
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from examples.server import Server, bento, serve

MODEL = "minilm-l6-v2-onnx-int8"


@dataclass
class Turn:
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    mean_batch_size: float
    cpu_ms_per_request: float
    failed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="tag in the model store")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4, help="of each server")
    parser.add_argument("--seconds", type=float, default=8, help="of load per turn, after 3 of warm-up")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    texts = Path("examples/sentences.txt").read_text(encoding="utf-8").splitlines()
    fastapi = [sys.executable, "-m", "uvicorn", "benchmarks.plain_fastapi:app", "--host", "127.0.0.1"]
    servers = {
        "quantbento": bento(),
        "FastAPI": [*fastapi, "--port", "{port}", "--log-level", "warning"],
    }
    turns: dict[str, list[Turn]] = {name: [] for name in servers}
    with tempfile.TemporaryDirectory() as logs:
        for number in range(arguments.turns):
            # Whoever goes first in one turn goes last in the next.
            for name in list(servers)[:: 1 if number % 2 == 0 else -1]:
                environment = {"QUANTBENTO_MODEL": arguments.model}
                with serve(servers[name], environment, Path(logs) / f"{name}.log") as server:
                    turn = asyncio.run(_load(server, texts, arguments.clients, arguments.seconds))
                turns[name].append(turn)
                print(f"turn {number + 1}  {name:<11}{turn.requests_per_second:8.0f} requests/s", file=sys.stderr)
    print(f"{arguments.clients} clients, one sentence per request, {arguments.turns} turns of {arguments.seconds:g} s")
    print(f"{'':<12}{'requests/s':>14}{'p50 ms':>9}{'p99 ms':>9}{'batch':>7}{'CPU ms/request':>16}{'failed':>8}")
    for name, measured in turns.items():
        median = {k: statistics.median(asdict(t)[k] for t in measured) for k in asdict(measured[0])}
        low, high = (f(t.requests_per_second for t in measured) for f in (min, max))
        print(
            f"{name:<12}{median['requests_per_second']:>6.0f} ({low:.0f}-{high:.0f}){median['p50_ms']:>8.0f}"
            f"{median['p99_ms']:>9.0f}{median['mean_batch_size']:>7.1f}{median['cpu_ms_per_request']:>16.2f}"
            f"{sum(t.failed for t in measured):>8}"
        )
    ratios = [
        ours.requests_per_second / theirs.requests_per_second
        for ours, theirs in zip(turns["quantbento"], turns["FastAPI"], strict=True)
    ]
    print(f"quantbento / FastAPI, turn by turn: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        figures = {name: [asdict(t) for t in measured] for name, measured in turns.items()}
        arguments.output.write_text(json.dumps(figures, indent=2))
    return 0


async def _load(server: Server, texts: list[str], clients: int, seconds: float) -> Turn:
    """Each client sends its next sentence once the last is answered. The first 3 s are not counted: BentoML's
    dispatcher learns the model's speed from its first requests."""
    bodies = [json.dumps({"texts": [text]}).encode() for text in texts]
    latencies: list[float] = []
    failed = 0
    begin = time.perf_counter() + 3
    end = begin + seconds

    async def client(session: aiohttp.ClientSession, place: int) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            place += 1
            start = time.perf_counter()
            async with session.post("/encode", data=bodies[place % len(bodies)]) as response:
                await response.read()
                good = response.status == 200
            if start >= begin and time.perf_counter() < end:
                latencies.append(time.perf_counter() - start)
                failed += not good

    async def cpu_at(moment: float) -> tuple[float, tuple[float, float]]:
        await asyncio.sleep(max(0, moment - time.perf_counter()))
        batches = await asyncio.to_thread(_batches, server)
        return server.cpu_seconds(), batches

    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(server.url, headers=headers, connector=connector, timeout=timeout) as session:
        running = asyncio.gather(*(client(session, i * 7) for i in range(clients)))
        cpu_before, (sum_before, count_before) = await cpu_at(begin)
        cpu_after, (sum_after, count_after) = await cpu_at(end - 0.1)
        await running
    ordered = sorted(latencies)
    batches = count_after - count_before
    return Turn(
        requests_per_second=len(ordered) / seconds,
        p50_ms=1e3 * ordered[len(ordered) // 2],
        p99_ms=1e3 * ordered[int(len(ordered) * 0.99)],
        mean_batch_size=(sum_after - sum_before) / batches if batches else 1.0,
        cpu_ms_per_request=1e3 * (cpu_after - cpu_before) / len(ordered),
        failed=failed,
    )


def _batches(server: Server) -> tuple[float, float]:
    """Requests in batches, and batches, so far; zeros from a server that does not batch."""
    try:
        text = server.metrics()
    except OSError:
        return 0.0, 0.0
    requests, batches = (
        sum(map(float, re.findall(rf"adaptive_batch_size_{kind}{{.*?}} ([\d.e+]+)", text))) for kind in ("sum", "count")
    )
    return requests, batches


if __name__ == "__main__":
    sys.exit(main())
