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
from quantbento.runtimes.module_files import program_of

if TYPE_CHECKING:
    import torch

    from quantbento.tasks.array import ArrayTask

OPSET = 20
LARGEST_IN_ONE_FILE = 1_900_000_000  # protobuf cannot hold 2 GiB; larger weights go into a file beside it


def export(source: torch.nn.Module, task: ArrayTask, path: Path) -> None:
    """Writes a module as ONNX, with the task's dynamic axes. A `torch.export` program keeps its own.

    Raises:
        QuantbentoError: it cannot be exported; no file is left then.
    """
    import torch

    # Several items of different lengths: a size of 1 would be exported as a constant. One where the model takes its
    # items one by one.
    items = (task.examples() * 3)[: min(3, task.chunk_items)]
    batch = task.collate([task.encode(item) for item in items])
    example = tuple(torch.from_numpy(batch[name]) for name in task.input_names)
    try:
        with quiet():
            if isinstance(source, torch.jit.ScriptModule):
                _write_torchscript(source, example, task, path)
            else:
                module = _positional(source, task.input_names, task.output_names)
                with _eager_attention(source):
                    _write(module, program_of(source), example, task, path)
    except Exception as error:
        path.unlink(missing_ok=True)
        raise QuantbentoError(f"the model could not be exported to ONNX: {summary(error)}") from error


def _write(module: Any, program: Any, example: tuple[Any, ...], task: ArrayTask, path: Path) -> None:
    import torch

    given: dict[str, Any] = {"input_names": task.input_names, "output_names": task.output_names}
    if program is None:
        axes = task.dynamic_axes()
        shapes = tuple(dict.fromkeys(axes[name], torch.export.Dim.DYNAMIC) for name in task.input_names)
        given |= {"args": example, "dynamic_shapes": (shapes,)}
    written = torch.onnx.export(program or module, dynamo=True, opset_version=OPSET, verbose=False, **given)
    assert written is not None
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    written.save(str(path), external_data=size > LARGEST_IN_ONE_FILE)


def _write_torchscript(source: Any, example: tuple[Any, ...], task: ArrayTask, path: Path) -> None:
    """By torch's older exporter: the newer one does not take TorchScript. It rewrites what it exports, so it gets a
    copy that shares no graph with the source."""
    import torch

    copied = io.BytesIO()
    torch.jit.save(source, copied)
    copied.seek(0)
    module = _positional(torch.jit.load(copied), task.input_names, task.output_names)
    axes = {name: {axis: f"{name}_{axis}" for axis in axes} for name, axes in task.dynamic_axes().items()}
    torch.onnx.export(
        torch.jit.trace(module, example, check_trace=False),
        example,
        path,
        dynamo=False,
        opset_version=OPSET,
        input_names=task.input_names,
        output_names=task.output_names,
        dynamic_axes=axes,
    )


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
def _eager_attention(source: Any) -> Iterator[None]:
    """A Transformers model with attention in single steps. PyTorch's fused attention becomes more operators, for rows
    that are masked as a whole, and that of windows (Swin) cannot be exported with a batch of any size."""
    before = getattr(getattr(source, "config", None), "_attn_implementation", None)
    if before in (None, "eager") or not hasattr(source, "set_attn_implementation"):
        yield
        return
    source.set_attn_implementation("eager")
    try:
        yield
    finally:
        source.set_attn_implementation(before)


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
