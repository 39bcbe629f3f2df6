"""Looks into the models: what the layers of full precision are given, and what both attend to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.making.sensitivity.activations import of_modules, of_nodes
from quantbento.making.sensitivity.attention import of_loaded, similarities
from quantbento.making.sensitivity.names import Names, plain
from quantbento.making.sensitivity.rows import LayerCost
from quantbento.quantizers.onnx.base import Graph
from quantbento.runtimes.module_files import program_of
from quantbento.tasks.source import SampleSet

ITEMS = 8  # whose attention is compared
BATCHES = 4


def outliers(
    job: Job, samples: SampleSet, layers: Sequence[LayerCost], names: Names
) -> tuple[dict[str, dict[str, float]], str | None]:
    """What `quantbento.making.sensitivity.activations` finds in the layers' inputs, by the layers' names, and a note
    where it cannot look. On calibration samples; on those that variants are judged on where there are none."""
    import torch

    batches = _batches(job, samples)
    if (module := job.source.module) is None:
        nodes: dict[str, str] = {plain(layer.name): layer.name for layer in layers}
        found = of_nodes(Graph.of(job).model, list(nodes), batches)
        return {nodes[node]: seen for node, seen in found.items()}, None
    if isinstance(module, torch.jit.ScriptModule) or program_of(module) is not None:
        return {}, "inputs of layers were not measured: the model is compiled or exported, and has no modules to watch"
    inside = {layer.name: behind[0] for layer in layers if (behind := names.of(layer.name))}
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    tensors = ({name: torch.as_tensor(value).to(device) for name, value in batch.items()} for batch in batches)
    return of_modules(module, inside, tensors), None


def attention(measuring: Any, job: Job, samples: SampleSet) -> tuple[list[dict[str, Any]], str | None]:
    """The similarity of each layer's attention in full precision and with all layers quantized, and a note where there
    is none."""
    batch = _few(job, samples)
    try:
        with measuring.original() as (loaded, folder):
            expected = of_loaded(loaded, folder, batch)
        if not expected:
            return [], f"attention was not compared: {measuring.runtime} gives no attention maps of this model"
        with measuring.loaded([]) as (loaded, folder):
            found = of_loaded(loaded, folder, batch)
    except QuantbentoError as error:
        return [], f"attention was not compared: {error}"
    alike = similarities(expected, found, batch.get("attention_mask"))
    return (
        alike,
        None if alike else f"attention was not compared: what {measuring.runtime} runs gives no attention maps",
    )


def _batches(job: Job, samples: SampleSet) -> list[dict[str, np.ndarray]]:
    if job.task.contract == "tokens":
        rows = job.task.windows(samples.inputs) if job.calibration is None else job.calibration
        return [{"input_ids": row[None]} for row in rows[:BATCHES]]
    if job.calibration is None:
        return job.task.calibrate(_checked(job, samples.inputs), None)[:BATCHES]
    return job.calibration[:BATCHES]


def _few(job: Job, samples: SampleSet) -> dict[str, np.ndarray]:
    """One batch of a few samples that can share one."""
    task = job.task
    if task.contract == "tokens":
        return {"input_ids": task.windows(samples.inputs)[:1]}
    encoded = task.encode_all(_checked(job, samples.inputs[:ITEMS]))
    alike = [item for item in encoded if task.group(item) == task.group(encoded[0])]
    return task.collate(alike[: task.chunk_items])


def _checked(job: Job, inputs: list[Any]) -> list[Any]:
    return job.task.check_all(inputs, job.custom_objects.get("preprocess"))
