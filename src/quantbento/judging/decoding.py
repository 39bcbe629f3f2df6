"""Speculative decoding and prefix caching judged: an engine with them beside the same model in an engine without.

Both must write the same greedy texts. What they win is tokens per second, the time to the first token of a prompt whose
beginning was asked before, and how many of the guessed tokens the model accepts.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantbento.core.progress import Progress
from quantbento.judging import benchmark
from quantbento.recipe import Benchmark
from quantbento.runtimes import artifact
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.loaded import LoadedModel
from quantbento.runtimes.vllm_settings import PLAIN

PROMPTS, PROMPT_TOKENS = 8, 512  # at most; caches are of blocks of up to 128 tokens, so prompts are long
OWN, OTHER = "own", "plain"
COUNTED = ("drafts", "draft_tokens", "accepted_tokens")  # by vLLM, as vllm:spec_decode_num_...


@dataclass(frozen=True)
class Observed:
    """What an engine did.

    Attributes:
        texts: greedy continuations of the prompts, as token ids.
        first_token_ms: median time to the first token of a prompt that was asked before.
        timing: of `LoadedModel.work`.
        prefixes, guesses: how vLLM's counters grew while prompts were asked again, and over all.
    """

    texts: list[list[int]]
    first_token_ms: float
    timing: benchmark.Timing
    prefixes: dict[str, float]
    guesses: dict[str, float]


class Comparison:
    """An engine and the plain one: in turns where two models fit in memory (`paired`), else one after the other.

    Args:
        folder: the artifact, which says its engine's settings.
        inputs: the evaluation texts, of which prompts are made.
        settings: of the recipe, with a device that was chosen.
        threads: CPU threads of a loaded model.
        progress: shows how far it is.
    """

    def __init__(
        self, name: str, folder: Path, inputs: list[Any], settings: Benchmark, threads: int, progress: Progress
    ) -> None:
        self._name, self._folder, self._inputs, self._settings = name, folder, inputs, settings
        self._threads, self._progress = threads, progress
        self._found: dict[str, Observed] = {}

    def observe(self, loaded: LoadedModel) -> None:
        """Measures the loaded engine, and beside it the plain one where both fit."""
        with contextlib.ExitStack() as stack:
            engines = {OWN: loaded}
            if self._settings.paired:
                engines[OTHER] = stack.enter_context(self._plain())
            self._measure(engines)

    def result(self) -> dict[str, Any]:
        """`VariantRow.decoding`. Loads the plain engine where it was not measured yet; the other is closed by then."""
        if OTHER not in self._found:
            with self._plain() as plain:
                self._measure({OTHER: plain})
        return compared(self._found[OWN], self._found[OTHER])

    def _plain(self) -> Any:
        own = artifact.describe(self._folder)["runtime_config"].get("engine", {})
        with self._progress.stage(f"{self._name}: load the plain engine"):
            loaded = artifact.load(self._folder, self._threads, self._settings.device, engine=without(own))
        return contextlib.closing(loaded)

    def _measure(self, engines: dict[str, LoadedModel]) -> None:
        with self._progress.stage(f"{self._name}: decode with {', '.join(engines)}") as advance:
            before = {name: engine.runtime.counters() for name, engine in engines.items()}
            said = {name: _greedy(engine, self._inputs) for name, engine in engines.items()}
            timings = benchmark.measure(engines, self._inputs, self._settings, advance)
            for name, engine in engines.items():
                texts, first, prefixes = said[name]
                guesses = _grown(before[name], engine.runtime.counters())
                self._found[name] = Observed(texts, first, timings[name], prefixes, guesses)


def without(engine: Mapping[str, Any]) -> dict[str, Any]:
    """What the plain engine has in place of these settings. What they do not set stays vLLM's default for both: else
    prefix caching, which is one, would be measured with every other setting."""
    return {name: value for name, value in PLAIN.items() if name in engine}


def compared(own: Observed, plain: Observed) -> dict[str, Any]:
    """`VariantRow.decoding`: `prompts`, `same_texts` (the share of prompts with the same tokens), `tokens_per_s`,
    `first_token_ms` and those of the `plain` engine, `speedup` over it, `acceptance_rate` (of guessed tokens),
    `tokens_per_pass` (1 and those accepted) and `prefix_hit_rate` (of tokens of prompts that were asked again).
    What was not used is None."""
    same = sum(a == b for a, b in zip(own.texts, plain.texts, strict=True))
    drafts, guessed, accepted = (own.guesses.get(f"spec_decode_num_{n}", 0) for n in COUNTED)
    queries, hits = (own.prefixes.get(f"prefix_cache_{n}", 0) for n in ("queries", "hits"))
    return {
        "prompts": len(own.texts),
        "same_texts": same / len(own.texts),
        "tokens_per_s": own.timing.throughput,
        "first_token_ms": own.first_token_ms,
        "plain": {"tokens_per_s": plain.timing.throughput, "first_token_ms": plain.first_token_ms},
        "speedup": asdict(benchmark.speedup(plain.timing, own.timing)),
        "acceptance_rate": accepted / guessed if guessed else None,
        "tokens_per_pass": 1 + accepted / drafts if drafts else None,
        "prefix_hit_rate": hits / queries if queries else None,
    }


def _greedy(engine: LoadedModel, inputs: list[Any]) -> tuple[list[list[int]], float, dict[str, float]]:
    """Token ids of the prompts' continuations, the median milliseconds to the first token of the same prompts asked
    again, one at a time, and the counters' growth over that."""
    task, runtime = engine.task, engine.runtime
    new = task.options.new_tokens
    tokens = task.windows(engine.check(inputs)).ravel()
    length = min(PROMPT_TOKENS, len(tokens), (runtime.max_model_len or PROMPT_TOKENS + new) - new)
    prompts = [tokens[at : at + length].tolist() for at in range(0, len(tokens) - length + 1, length)][:PROMPTS]
    texts = [list(made.token_ids) for made in runtime.generate(prompts, Sampling(max_tokens=new))]
    before, seconds = runtime.counters(), []
    for prompt in prompts:
        start = time.perf_counter()
        runtime.generate([prompt], Sampling(max_tokens=1))
        seconds.append(time.perf_counter() - start)
    return texts, 1e3 * statistics.median(seconds), _grown(before, runtime.counters())


def _grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items()}
