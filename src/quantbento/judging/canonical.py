"""Proves that the canonical form of an ONNX graph computes what the graph computes, before anything is made of it.

Both run in ONNX Runtime on samples. Where they differ, less is done to the graph, and what was not done is noted.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import CANONICAL, Job
from quantbento.inputs.onnx_graph import STEPS, CanonicalGraph, canonical
from quantbento.judging.evaluate import checked_rows
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from quantbento.tasks.base import Arrays
from quantbento.tasks.metrics import output_metrics
from quantbento.tasks.rows import holds_floats, shapes
from quantbento.tasks.source import SampleSet, SourceModel

SAMPLES = 32  # a graph is the same or it is not: a few tell
EQUAL_DB = 90.0  # float32 rounding in another order
NEAR_DB = 40.0  # graphs in 16 bit differ by this much; then the highest scores must be at the same place


def prove(job: Job, samples: SampleSet, threads: int) -> CanonicalGraph:
    """The canonical graph of a job, `job.graph`, which computes what `job.onnx()` does.

    Args:
        samples: those that variants are judged on; they do not become part of the job.

    Raises:
        QuantbentoError: the model cannot be exported, or does not run on the samples.
    """
    if job.graph is not None:
        return job.graph
    job.graph = _kept(job)
    if job.graph is not None:
        return job.graph
    few = SampleSet(samples.inputs[:SAMPLES])
    graph = canonical(job.onnx(), job.workspace / CANONICAL)
    expected: Arrays = {}
    while graph.step != "untouched":
        expected = expected or _rows(job, job.onnx(), few, threads)
        try:
            reason = difference(expected, _rows(job, graph.path, few, threads))
        except QuantbentoError as error:
            reason = str(error)
        if reason is None:
            break
        note = f"{STEPS[graph.step]} is not used: {reason}"
        following = canonical(job.onnx(), job.workspace / CANONICAL, graph.step)
        graph = replace(following, notes=[*graph.notes, note, *following.notes])
    if job.source.onnx and graph.change:
        note = f"started from {STEPS[graph.step]} ({graph.change}); it answers {len(few.inputs)} samples the same"
        graph = replace(graph, notes=[*graph.notes, note])
    job.graph = graph
    untouched = graph.path == job.onnx()
    job.cache.keep(
        "canonical graph",
        {},
        {"step": graph.step, "change": graph.change, "notes": graph.notes},
        {} if untouched else {"graph": graph.path.parent},
    )
    return graph


def _kept(job: Job) -> CanonicalGraph | None:
    """The graph that an earlier run proved."""
    folder = job.workspace / CANONICAL / "kept"
    found = job.cache.restore("canonical graph", {}, {"graph": folder})
    if found is None:
        return None
    path = folder / MODEL
    return CanonicalGraph(path if path.is_file() else job.onnx(), **found)


def difference(expected: Arrays, found: Arrays) -> str | None:
    """How two models' rows differ, or None where they are the same: integers are equal, and floats are within rounding,
    or near, with the highest scores at the same places."""
    if (wanted := _described(expected)) != (got := _described(found)):
        return f"its outputs are {got}, not {wanted}"
    apart = output_metrics(expected, found)
    db, agreement = apart.get("sqnr_db", EQUAL_DB), apart.get("agreement", 1.0)
    if agreement < 1:
        return f"{agreement:.2%} of its integers and booleans are the original's"
    floats = [name for name in expected if holds_floats(expected[name])]
    if db >= EQUAL_DB or (db >= NEAR_DB and all(_same_choice(expected[name], found[name]) for name in floats)):
        return None
    return f"its answers are {db:.0f} dB from the original's, and {EQUAL_DB:.0f} are needed"


def _same_choice(expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether the highest score of every row is at the same place. One number per row chooses nothing."""
    pairs: Sequence[tuple[Any, Any]] = list(zip(expected, found, strict=True))
    return all(np.shape(a)[-1:] not in ((), (1,)) and np.array_equal(a.argmax(-1), b.argmax(-1)) for a, b in pairs)


def _described(rows: Arrays) -> dict[str, list[tuple[int, ...]]]:
    return {name: list(dict.fromkeys(shapes(values))) for name, values in sorted(rows.items())}


def _rows(job: Job, path: Path, samples: SampleSet, threads: int) -> Arrays:
    """What a graph gives for the samples, in ONNX Runtime."""
    with tempfile.TemporaryDirectory(dir=job.workspace) as name:
        folder, of_file = Path(name), replace(job, source=SourceModel(onnx=path))
        config = OnnxRuntime.write_reference(of_file, folder, "float32")
        job.complete(folder, OnnxRuntime, config or {})
        with contextlib.closing(artifact.load(folder, threads, "cpu")) as loaded:
            return checked_rows(loaded, samples, "it")
