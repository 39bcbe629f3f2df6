"""Runs as a separate process: one pass of a benchmark. Loads the models, then calls each in turn for every cell of the
grid, in rounds and in shuffled order, and prints the seconds of all calls as JSON.

Standard input is a pickled mapping: `models` (by name: `folder`, and `inputs`, a list for each cell), `cells`
([batch, length]), `rounds`, `seconds`, `threads`, `device`, `seed`, `new_tokens`.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes import artifact
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.text_generator import TextGenerator

FEWEST_ROUNDS = 3
LEAST_SECONDS = 0.02  # of one measurement: short calls are repeated, so that no single wake-up decides
MOST_CALLS = 20


def main() -> None:
    job = pickle.load(sys.stdin.buffer)
    try:
        done = measure(job)
    except QuantbentoError as error:  # a mistake of the user's, whose words the parent says
        done = {"error": str(error)}
    print(json.dumps(done))


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """`{"calls": {model: [cell][round][call] in seconds}, "made": {model: [cell] units of throughput per call}}`"""
    shuffle = random.Random(job["seed"]).shuffle
    names = list(job["models"])
    shuffle(names)
    loaded = {name: artifact.load(job["models"][name]["folder"], job["threads"], job["device"]) for name in names}
    calls = {name: _calls(loaded[name], job["models"][name]["inputs"], job["new_tokens"]) for name in names}
    try:
        made = {name: [call() for call in calls[name]] for name in names}  # also compiles, and warms up
    except InvalidInput as error:  # made up for the model, not for a function that the user put before it
        raise QuantbentoError(f"an input is not taken: {error}. Name inputs of yours: --samples FILE") from None
    warm = {name: [_seconds(call) for call in calls[name]] for name in names}
    repeats = {name: [min(MOST_CALLS, math.ceil(LEAST_SECONDS / s)) for s in warm[name]] for name in names}
    found: dict[str, list[list[list[float]]]] = {name: [[] for _ in job["cells"]] for name in names}
    order = list(range(len(job["cells"])))
    end = time.perf_counter() + job["seconds"]
    for round_ in range(job["rounds"]):
        if round_ >= FEWEST_ROUNDS and time.perf_counter() > end:
            break
        shuffle(order)
        for cell in order:
            shuffle(names)
            for name in names:
                found[name][cell].append([_seconds(calls[name][cell]) for _ in range(repeats[name][cell])])
    for model in loaded.values():
        model.close()
    return {"calls": found, "made": made}


def medians(rounds: list[list[float]]) -> list[float]:
    """The seconds of each round's typical call."""
    return [statistics.median(calls) for calls in rounds]


def _calls(model: Any, inputs: list[list[Any]], new_tokens: int) -> list[Callable[[], int]]:
    """For each cell, what does its work and returns how much that was."""
    if isinstance(model, TextGenerator):
        sampling = Sampling(max_tokens=new_tokens, ignore_eos=True)

        def generate(prompts: list[list[int]]) -> int:
            return sum(len(g.token_ids) for g in model.runtime.generate(prompts, sampling))

        return [lambda prompts=prompts: generate(prompts) for prompts in inputs]  # type: ignore[misc]
    return [lambda items=items: model.work(items) for items in inputs]  # type: ignore[misc]


def _seconds(call: Callable[[], int]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
