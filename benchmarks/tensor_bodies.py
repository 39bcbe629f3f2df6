"""One image of 3 x 224 x 224 float32 per request, as JSON and as a `.npy` file, to one served model: the size of the
bodies, and how long an answer takes.

The model is a pooling and a small linear layer, made and quantized for this run, so that the request is what is
measured. One client sends both kinds in turns, in a shuffled order, and both must be answered alike.

    python -m benchmarks.tensor_bodies
    python -m benchmarks.tensor_bodies --pairs 500 --output reports/tensor-bodies.json
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import torch
from torch import nn

SHAPE = (3, 224, 224)
WARM_UP = 20  # pairs that are not counted: BentoML's dispatcher learns the model's speed from its first requests
KINDS = {"JSON": "application/json", ".npy": "application/octet-stream"}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, 16))


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)


RECIPE = {
    "schema_version": 1,
    "name": "tensor-bodies",
    "task": "tensor",
    "model": {"factory": "benchmarks.tensor_bodies:model"},
    "evaluation": {"factory": "benchmarks.tensor_bodies:images"},
    "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False},
    "variants": [{"name": "onnx-int8", "quantizer": "onnx-dynamic"}],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="requests of each kind")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    bodies = {"JSON": json.dumps({"inputs": images()[:1].tolist()}).encode(), ".npy": _npy(images()[:1])}
    with tempfile.TemporaryDirectory() as folder:
        seconds = _measured(Path(folder), bodies, arguments.pairs)
    figures = {
        kind: {"body_bytes": len(bodies[kind]), "p50_ms": 1e3 * statistics.median(seconds[kind])} for kind in bodies
    }
    ratios = [slow / fast for slow, fast in zip(seconds["JSON"], seconds[".npy"], strict=True)]
    p10, *_, p90 = statistics.quantiles(ratios, n=10)
    print(f"one float32 image of {SHAPE} per request, {arguments.pairs} pairs of requests")
    print(f"{'':<6}{'body':>10}{'p50 ms':>9}")
    for kind, found in figures.items():
        print(f"{kind:<6}{found['body_bytes'] / 1e6:>7.2f} MB{found['p50_ms']:>9.1f}")
    print(f"JSON / .npy, pair by pair: {statistics.median(ratios):.2f}x (p10-p90: {p10:.2f}-{p90:.2f})")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(figures, indent=2))
    return 0


def _measured(folder: Path, bodies: dict[str, bytes], pairs: int) -> dict[str, list[float]]:
    """Seconds by kind, in the order of the pairs."""
    os.environ["BENTOML_HOME"] = str(folder / "bentoml")  # BentoML reads it when it is imported
    import quantbento
    from examples.server import bento, serve

    [row] = quantbento.save(RECIPE, output=folder / "reports").variants
    seconds: dict[str, list[float]] = {kind: [] for kind in bodies}
    environment = {"QUANTBENTO_MODEL": row.tag or ""}
    with (
        serve(bento("service:TensorModel"), environment, folder / "server.log") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        order, answers = random.Random(0), {}
        for number in range(WARM_UP + pairs):
            for kind in order.sample(list(bodies), 2):
                start = time.perf_counter()
                response = client.post("/predict", content=bodies[kind], headers={"content-type": KINDS[kind]})
                taken = time.perf_counter() - start
                answers[kind] = response.raise_for_status().json()
                if number >= WARM_UP:
                    seconds[kind].append(taken)
            np.testing.assert_allclose(answers["JSON"], answers[".npy"], rtol=1e-5)
    return seconds


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
