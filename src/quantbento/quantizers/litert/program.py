"""A module as a `torch.export` program for a LiteRT file: of one size, its inputs and outputs in the task's order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.inputs.onnx_export import quiet
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays
from quantbento.tasks.outputs import named_outputs
from quantbento.tasks.tensor import TensorTask

if TYPE_CHECKING:
    import torch


def write(module: torch.nn.Module, task: ArrayTask, path: Path) -> None:
    """Writes the program, with an example of its inputs.

    Raises:
        QuantbentoError: it cannot be exported, or has inputs of any size.
    """
    import torch

    if free := _free(task):
        raise QuantbentoError(
            f"a LiteRT file has fixed sizes, and {one_of(free)} can have any; use onnx-static or onnx-dynamic"
        )
    inputs = {name: torch.from_numpy(np.array(value)) for name, value in example(task).items()}
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(_named(module, task.output_names), (), inputs)
            torch.export.save(program, path)
    except Exception as error:  # the model's own code runs
        raise QuantbentoError(f"the model could not be exported for LiteRT: {summary(error)}") from error


def example(task: ArrayTask) -> Arrays:
    """A batch of the size that the file takes."""
    return task.collate([task.encode(task.examples()[0])])


def output_axes(task: ArrayTask) -> dict[str, int | None]:
    """By output name, the axis of the batch."""
    return dict(task.layout.outputs) if isinstance(task, TensorTask) else dict.fromkeys(task.output_names, 0)


def _free(task: ArrayTask) -> list[str]:
    """The inputs that have axes of any size beside the batch."""
    batch: dict[str, int | None] = dict.fromkeys(task.input_names, 0)
    if isinstance(task, TensorTask):
        batch = {i.name: i.batch_axis for i in task.inputs}
    return [name for name, axes in task.dynamic_axes().items() if set(axes) - {batch[name]}]


def _named(module: Any, outputs: list[str]) -> torch.nn.Module:
    """The module with its outputs as a tuple in this order."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, **inputs: Any) -> Any:
            found = named_outputs(self.model(**inputs))
            return tuple(found[name] for name in outputs)

    return Named().eval()
