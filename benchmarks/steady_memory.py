"""A server's memory after 5,000 and after 50,000 requests, and the size of its /metrics before and after 500 paths that
it does not have:

    python save_models.py configs/two-moons.yaml
    python -m benchmarks.steady_memory
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import aiohttp
import psutil

from examples.server import Server, bento, serve

MODEL = "two-moons-onnx-int8"
BODY = {"inputs": [[0.5, 0.25]]}
CLIENTS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="tag in the model store; it takes two numbers")
    parser.add_argument("--limit", type=float, default=0.03, help="exit with 1 where memory grows by a larger part")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"QUANTBENTO_MODEL": arguments.model}
        with serve(bento("service:TensorModel"), environment, Path(folder) / "server.log") as server:
            asyncio.run(_ask(server, 5_000))
            early, lines = _memory(server), len(server.metrics().splitlines())
            asyncio.run(_ask(server, 45_000))
            late = _memory(server)
            asyncio.run(_wrong_paths(server, 500))
            more = len(server.metrics().splitlines())
    growth = late / early - 1
    print(f"after 5,000 requests: {early / 1e6:.1f} MB; after 50,000: {late / 1e6:.1f} MB ({growth:+.1%})")
    print(f"/metrics: {lines} lines; after 500 unknown paths {more}")
    return int(growth > arguments.limit)


def _memory(server: Server) -> int:
    """Resident bytes of the process that answers."""
    found = psutil.Process(server.process.pid).children(recursive=True)
    return max(process.memory_info().rss for process in found)


async def _ask(server: Server, requests: int) -> None:
    async with aiohttp.ClientSession(server.url) as session:

        async def client() -> None:
            for _ in range(requests // CLIENTS):
                async with session.post("/predict", json=BODY) as response:
                    assert response.status == 200
                    await response.read()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _wrong_paths(server: Server, paths: int) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        for number in range(paths):
            async with session.get(f"/unknown/{number}") as response:
                assert response.status == 404


if __name__ == "__main__":
    sys.exit(main())
