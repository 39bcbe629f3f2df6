"""The figures of one model in the tasks of a recipe."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator
from typing import Any

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of, summary
from quantbento.core.progress import Progress
from quantbento.core.stage_cache import StageCache
from quantbento.judging.lm_eval.tasks import LoadedTasks, load, quiet
from quantbento.recipe.lm_eval import LmEval, LmEvalTask
from quantbento.runtimes.loaded import LoadedModel

RESAMPLES = 1000  # for standard errors of metrics that are no means
PREFERRED = "acc_norm"  # what leaderboards show of tasks that have it


def scores(loaded: LoadedModel, spec: LmEval, name: str, progress: Progress) -> dict[str, dict[str, Any]]:
    """By task: its `metric` (as lm-eval names it, with the filter behind a comma unless that is `none`), its `value`,
    `stderr` (None where lm-eval has none), `better` (+1 or -1), `num_fewshot` and `samples`.

    Args:
        name: what progress calls the model.

    Raises:
        QuantbentoError: a task does not run on the model.
    """
    from lm_eval.evaluator import evaluate

    from quantbento.judging.lm_eval.model import HarnessModel

    with progress.stage(f"{name}: lm-eval") as advance:
        tasks = load(spec)
        model = HarnessModel(loaded, spec.batch_size, spec.add_bos_token, advance)
        try:
            with quiet(), _no_bars():
                results = evaluate(
                    model,
                    tasks.harness,
                    limit=spec.limit,
                    bootstrap_iters=RESAMPLES,
                    log_samples=False,
                    apply_chat_template=spec.apply_chat_template,
                    fewshot_as_multiturn=spec.fewshot_as_multiturn if spec.apply_chat_template else False,
                    system_instruction=spec.system_instruction,
                )
        except QuantbentoError:
            raise
        except Exception as error:  # of a task's functions, a template, or a metric
            raise QuantbentoError(f"lm-eval does not run on {name}: {summary(error)}") from error
    if model.cut:
        progress.say(f"{name}: {model.cut} prompts of lm-eval were longer than the context and lost their first tokens")
    return {wanted.task: _figure(wanted, results, tasks) for wanted in spec.tasks}


def kept_scores(
    loaded: LoadedModel, spec: LmEval, name: str, progress: Progress, cache: StageCache
) -> dict[str, dict[str, Any]]:
    """`scores`, or what an earlier run found for the model of this name."""
    known = cache.restore("lm-eval", {"model": name})
    if known is None:
        known = scores(loaded, spec, name, progress)
        cache.keep("lm-eval", {"model": name}, known)
    return known


def _figure(wanted: LmEvalTask, results: Any, tasks: LoadedTasks) -> dict[str, Any]:
    name = wanted.task
    told = results["results"].get(name, {})
    measured = {k: v for k, v in told.items() if "," in k and "_stderr," not in k and _finite(v) is not None}
    key = _key(wanted, list(measured))
    metric, _, filtered = key.partition(",")
    leaves = tasks.leaves[name]
    counts = [results["n-samples"][leaf]["effective"] for leaf in leaves]
    shots = {results["n-shot"].get(leaf, 0) for leaf in leaves}
    # Of a group, lm-eval has it for its members only.
    higher = [results["higher_is_better"].get(n, {}).get(metric) for n in (name, *leaves)]
    return {
        "metric": metric if filtered == "none" else key,
        "value": float(measured[key]),
        "stderr": _finite(told.get(f"{metric}_stderr,{filtered}")),
        "better": -1 if next((h for h in higher if h is not None), True) is False else 1,
        "num_fewshot": shots.pop() if len(shots) == 1 else None,
        "samples": sum(counts),
    }


def _key(wanted: LmEvalTask, measured: list[str]) -> str:
    """The chosen metric with its filter, as lm-eval's results name it."""
    if not measured:
        raise QuantbentoError(f"lm-eval measured nothing in {wanted.task!r}; if it is a group, name its tasks")
    if wanted.metric is None:
        return next((key for key in measured if key.startswith(f"{PREFERRED},")), measured[0])
    for key in measured:
        if wanted.metric in (key, key.partition(",")[0]):
            return key
    hint = did_you_mean(wanted.metric, measured)
    raise QuantbentoError(f"{wanted.task!r} has no metric {wanted.metric!r}{hint} (it has {one_of(measured)})")


def _finite(value: Any) -> float | None:
    """A figure of lm-eval's, which writes `N/A` where there is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """lm-eval prints, draws bars over ours, and starts processes to resample a few hundred numbers."""
    import lm_eval.api.task as harness

    shown, before = harness.tqdm, os.environ.get("DISABLE_MULTIPROC")
    harness.tqdm = lambda items, **_: items
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        harness.tqdm = shown
        os.environ.pop("DISABLE_MULTIPROC")
        if before is not None:
            os.environ["DISABLE_MULTIPROC"] = before
