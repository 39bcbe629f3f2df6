"""What several tests start from: jobs for tiny models, and predictors loaded from an artifact folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import registry
from quantbento.inputs.job import Job
from quantbento.inputs.source import NamedModel
from quantbento.quantizers.base import Quantized
from quantbento.recipe import ModelSpec
from quantbento.runtimes import artifact
from quantbento.runtimes.predictor import Predictor
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.tensor import TensorTask
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.tensor.layout import Layout


@dataclass
class JudgedJob(Job):
    """A job with the samples that its results are judged on, which quantizers do not get."""

    samples: SampleSet = field(default_factory=lambda: SampleSet([]))


def job_of(model: Any, inputs: list[Any], workspace: Path) -> JudgedJob:
    """A job for the tensor task, from a PyTorch module or the path of an ONNX file."""
    source = SourceModel(onnx=model) if isinstance(model, Path) else SourceModel(module=model.eval())
    return _job(source, "tensor", inputs, workspace)


def text_job(folder: Path, task: str, texts: list[str], workspace: Path) -> JudgedJob:
    """A job for a text task, from a folder in hub format."""
    return _job(load_source(ModelSpec(path=folder), task), task, texts, workspace)


def load_source(spec: ModelSpec, task: str, workspace: Path | None = None) -> SourceModel:
    """The model that a recipe of the task names."""
    return NamedModel(spec, registry.task(task)).load(workspace)


def tensor_task(shapes: dict[str, list[int | None]], outputs: list[str], labels: list[str] | None = None) -> TensorTask:
    """The task of a model with float32 inputs of these shapes (None: any size), the batch first everywhere."""
    inputs = [Input(n, "float32", tuple(shape), tuple(size or 5 for size in shape)) for n, shape in shapes.items()]
    return TensorTask(inputs, Layout(dict.fromkeys(outputs, 0)), labels)


def _job(source: SourceModel, task_name: str, inputs: list[Any], workspace: Path) -> JudgedJob:
    kind, samples = registry.task(task_name), SampleSet(inputs)
    return JudgedJob(source, kind.create(source, kind.Options(), samples), workspace, samples=samples)


def quantized(job: Job, quantizer: str, folder: Path, **options: Any) -> tuple[Quantized, Predictor]:
    """What the quantizer says it did, and the artifact it wrote, loaded again."""
    method = registry.quantizer(quantizer)()
    folder.mkdir(parents=True, exist_ok=True)
    done = method.quantize(job, method.Options(**options), folder)
    job.complete(folder, registry.runtime_of(method, job.task), done.runtime_config)
    return done, artifact.load(folder, threads=1)


def hidden_states(job: Job, predictor: Predictor) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What an encoder's full-precision module and its artifact give, (texts, tokens, width), at several sizes."""
    import torch

    for batch, length in [(1, 3), (1, 30), (2, 4), (7, 17)]:
        inputs = job.task.collate([job.task.encode("good " * (length - 2))] * batch)
        found = predictor.runtime.run(inputs)["last_hidden_state"]
        with torch.no_grad():
            expected = job.source.module(**{n: torch.from_numpy(v) for n, v in inputs.items()})
        assert found.shape == (batch, length, 32)
        yield expected.last_hidden_state.numpy(), found


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def onnx_file(
    path: Path, nodes: list[tuple], inputs: dict[str, list], outputs: dict[str, list], weights: dict[str, np.ndarray]
) -> Path:
    """Writes a graph; `nodes` are (operator, inputs, outputs), a shape's first entry "batch" is dynamic."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(operator, given, made, name=f"{operator}_{made[0]}") for operator, given, made in nodes],
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs.items()],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def run_elsewhere(code: str, cwd: Path, *arguments: str) -> str:
    """What a new Python process prints, started in `cwd`."""
    child = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return child.stdout
