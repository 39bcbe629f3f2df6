"""What a PyTorch module takes and gives, seen from its `forward` and from running it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Arrays
from quantbento.tasks.source import SampleSet
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.tensor.layout import Layout, look
from quantbento.tasks.tensor.learned import arrays_of, learned
from quantbento.tasks.tensor.options import TensorOptions

if TYPE_CHECKING:
    import torch


def understand(module: Any, options: TensorOptions, samples: SampleSet) -> tuple[list[Input], Layout]:
    """What the module takes, and where the batch is in what it gives.

    Raises:
        QuantbentoError: it does not take the samples.
    """
    names = forward_names(module)
    given = arrays_of(samples.inputs, names, every=False)
    run, first = _runner(module), samples.inputs[0]
    raw = first if isinstance(first, dict) else {names[0]: first}
    failed: QuantbentoError | None = None
    for dtypes in _dtypes(given, raw, options):
        inputs = [learned(name, dtypes[name], None, values, options) for name, values in given.items()]
        try:
            item = {i.name: i.check(given[i.name][0]) for i in inputs}
            return inputs, look(run, inputs, item, None, options.output_batch_axis)
        except QuantbentoError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def forward_names(module: Any) -> list[str]:
    """The names of the module's inputs.

    Raises:
        QuantbentoError: it names none.
    """
    if names := getattr(module, "input_names", None):  # of a program without parameters to look at
        return list(names)
    if (schema := getattr(module.forward, "schema", None)) is not None:  # of TorchScript
        return [argument.name for argument in schema.arguments[1:]]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [n for n, p in inspect.signature(module.forward).parameters.items() if p.kind in kinds]
    if not names:
        kind = type(module).__name__
        raise QuantbentoError(f"{kind}.forward names no inputs; give its parameters names: forward(self, x)")
    return names


def _dtypes(given: dict[str, list[np.ndarray]], raw: dict[str, Any], options: TensorOptions) -> list[dict[str, str]]:
    """The types that the inputs may have, the most likely first. A module does not say them: it is tried.

    Floats are float32, as the module itself. Whole numbers and booleans stay what they are in an array; in a Python
    list they are float32 if the module takes that, because people write 1 for 1.0.

    Args:
        given: the samples' values by input name.
        raw: one sample as it was given.
    """
    own = {name: str(values[0].dtype) if values[0].dtype.kind in "iub" else "float32" for name, values in given.items()}
    listed = {name: "float32" for name in own if not hasattr(raw[name], "dtype")}
    tries = [types | options.dtypes for types in (own | listed, own, dict.fromkeys(own, "float32"))]
    return [types for index, types in enumerate(tries) if types not in tries[:index]]


def _runner(module: torch.nn.Module) -> Callable[[Arrays], dict[str, tuple[int, ...]]]:
    """A function that gives the shapes of the outputs for a batch."""
    import torch

    from quantbento.tasks.outputs import named_outputs

    def run(batch: Arrays) -> dict[str, tuple[int, ...]]:
        inputs = {name: torch.from_numpy(np.asarray(value, order="C")) for name, value in batch.items()}
        with torch.inference_mode():
            outputs = named_outputs(module(**inputs))
        if complex_ones := [name for name, value in outputs.items() if value.is_complex()]:
            raise QuantbentoError(f"output {complex_ones[0]!r} is complex; return its real and imaginary part")
        return {name: tuple(value.shape) for name, value in outputs.items()}

    return run
