"""A full-precision PyTorch model as an ONNX file with dynamic batch (and sequence) dimensions."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary

if TYPE_CHECKING:
    import torch

    from quantbento.tasks.array import ArrayTask

OPSET = 20
LARGEST_IN_ONE_FILE = 1_900_000_000  # protobuf cannot hold 2 GiB; larger weights go into a file beside it


def export(source: torch.nn.Module, task: ArrayTask, path: Path) -> None:
    """Writes a module as ONNX, with the task's dynamic axes.

    Raises:
        QuantbentoError: it cannot be exported; no file is left then.
    """
    import torch

    names, outputs = task.input_names, task.output_names
    # Several items of different lengths: a size of 1 would be exported as a constant.
    batch = task.collate([task.encode(item) for item in (task.examples() * 3)[:3]])
    example = tuple(torch.from_numpy(batch[name]) for name in names)
    dynamic, axes = torch.export.Dim.DYNAMIC, task.dynamic_axes()
    shapes = tuple(dict.fromkeys(axes[name], dynamic) for name in names)
    module = _positional(source, names, outputs)
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=outputs,
                dynamic_shapes=(shapes,),
                verbose=False,
            )
            assert program is not None
            size = sum(p.numel() * p.element_size() for p in module.parameters())
            program.save(str(path), external_data=size > LARGEST_IN_ONE_FILE)
    except Exception as error:
        path.unlink(missing_ok=True)
        raise QuantbentoError(f"the model could not be exported to ONNX: {summary(error)}") from error


def _positional(module: Any, names: list[str], outputs: list[str]) -> Any:
    """Wraps the module: the exporter passes inputs by position, and models are called by keyword."""
    import torch

    from quantbento.tasks.outputs import named_outputs

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *args: Any) -> Any:
            result = named_outputs(self.model(**dict(zip(names, args, strict=True))))
            return tuple(result[name] for name in outputs)

    return Positional().eval()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the exporter and ONNX Runtime's quantizer, which print much that a user can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "root")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
