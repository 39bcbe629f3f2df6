"""A full-precision PyTorch model as an ONNX file with dynamic batch (and sequence) dimensions."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.quantizers.base import Job
from quantbento.runtimes.onnx import MODEL

OPSET = 20
LARGEST_IN_ONE_FILE = 1_900_000_000  # protobuf cannot hold 2 GiB; beyond, weights lie in a file beside


def fp32_onnx(job: Job) -> Path:
    """The job's model as ONNX: exported once a workspace, or the user's own file."""
    if job.source.onnx:
        return job.source.onnx
    path = job.workspace / "onnx-fp32" / MODEL
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        _export(job, path)
    return path


def _export(job: Job, path: Path) -> None:
    """Example batches hold different lengths and more than one item: a size of 1 would be exported as constant."""
    import torch

    names, outputs = job.task.input_names, job.task.output_names
    batch = job.task.collate([job.task.encode(item) for item in (job.examples * 2)[:3]])
    example = tuple(torch.from_numpy(batch[name]) for name in names)
    text_like = [name for name in names if batch[name].dtype.kind == "i" and batch[name].ndim == 2]
    dynamic = torch.export.Dim.DYNAMIC
    shapes = tuple({0: dynamic, 1: dynamic} if name in text_like else {0: dynamic} for name in names)
    module = _positional(job.source.module, names, outputs)
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
        raise QuantbentoError(f"the model could not be exported to ONNX: {summary(error)}") from error


def _positional(module: Any, names: list[str], outputs: list[str]) -> Any:
    """The exporter names inputs by position; models are called by keyword."""
    import torch

    from quantbento.runtimes.torch import named_outputs

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
    """The exporter and ONNX Runtime's quantizer warn and print a great deal that a user can do nothing about."""
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
