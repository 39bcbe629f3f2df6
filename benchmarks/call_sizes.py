"""Texts per second of stored models, called from Python with more and more texts at once:

    python save_models.py configs/minilm.yaml
    python -m benchmarks.call_sizes
    python -m benchmarks.call_sizes my-classifier-onnx-int8 --rounds 21

Every call size answers the same texts, in a new order each round; sizes and models take turns, shuffled. `fell` says by
how much the median is below the best median of a smaller size. Exits with 1 where that is more than `--tolerance`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from examples import docstrings
from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import default_threads

STORED = ("minilm-l6-v2-openvino-int8", "minilm-l6-v2-onnx-int8", "minilm-l6-v2-torch-int8")
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def throughput(model: Callable[[Sequence[str]], Any], texts: Sequence[str], size: int) -> float:
    """Texts per second, in calls of `size` texts."""
    start = time.perf_counter()
    for place in range(0, len(texts), size):
        model(texts[place : place + size])
    return len(texts) / (time.perf_counter() - start)


def fell(medians: Sequence[float]) -> list[float]:
    """By which share each is below the best of those before it; 0 where it is not."""
    best, shares = 0.0, []
    for median in medians:
        best = max(best, median)
        shares.append(1 - median / best)
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=STORED, help="tags in the model store, of models that take texts")
    parser.add_argument("--texts", type=int, default=256, help="docstrings in a round; a multiple of 128")
    parser.add_argument("--rounds", type=int, default=11, help="that are measured")
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before them")
    parser.add_argument("--tolerance", type=float, default=0.05, help="by which share throughput may fall")
    parser.add_argument("--threads", type=int, default=default_threads())
    arguments = parser.parse_args()
    texts = docstrings.held_out()[0][: arguments.texts]
    if arguments.texts % SIZES[-1] or len(texts) != arguments.texts or arguments.rounds < 2:
        parser.error(f"--texts must be a multiple of {SIZES[-1]} that there are docstrings for, --rounds at least 2")
    try:
        models = {name: store.load(name, arguments.threads) for name in arguments.models}
    except QuantbentoError as error:
        print(f"error: {error}\nStore them first: python save_models.py configs/minilm.yaml", file=sys.stderr)
        return 2
    turns = [(name, size) for name in models for size in SIZES]
    measured: dict[tuple[str, int], list[float]] = {turn: [] for turn in turns}
    for number in range(arguments.warm_up + arguments.rounds):
        random.shuffle(texts)
        random.shuffle(turns)
        for name, size in turns:
            speed = throughput(models[name], texts, size)
            if number >= arguments.warm_up:
                measured[name, size].append(speed)
    print(f"{len(texts)} texts, {arguments.threads} threads, {arguments.rounds} rounds\n")
    print("| model | texts in a call | texts/s (p10-p90) | fell |\n|---|---|---|---|")
    worst = 0.0
    for name in models:
        medians = [statistics.median(measured[name, size]) for size in SIZES]
        for size, median, share in zip(SIZES, medians, fell(medians), strict=True):
            p10, *_, p90 = statistics.quantiles(measured[name, size], n=10, method="inclusive")
            told = f"by {share:.0%}" if share > arguments.tolerance else "no"
            print(f"| {name} | {size} | {median:.0f} ({p10:.0f}-{p90:.0f}) | {told} |")
            worst = max(worst, share)
    return 1 if worst > arguments.tolerance else 0


if __name__ == "__main__":
    sys.exit(main())
