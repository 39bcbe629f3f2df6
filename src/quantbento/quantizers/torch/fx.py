"""INT8 layers by torch.ao's FX graph mode: what `torch-static` and `torch-qat` share.

The model's graph is traced, so that a layer and the activation after it are fused, and values stay in INT8 from one
layer to the next. Eager mode would need stubs in the model's own code.

`prepared = prepare(...)`; calibrate or train it; `convert(prepared)`; `count` what became of it.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbento.core.errors import QuantbentoError, summary
from quantbento.quantizers.base import Quantized, exactly, select
from quantbento.quantizers.torch.fx_options import FxOptions, engine_of
from quantbento.quantizers.torch.tracing import ELSE, taking, trace, untraced
from quantbento.runtimes.module_files import program_of
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays
from quantbento.tasks.tensor.module import forward_names

if TYPE_CHECKING:
    import torch

SIZES = (1, 3, 8)  # items in a batch


def problems(name: str, module: Any, options: FxOptions) -> list[str]:
    """Reasons why a module cannot be quantized so. It may have no weights.

    Args:
        name: the quantizer's, for messages; so in all functions here.
    """
    try:
        choose(name, module, options)
        engine_of(options)
        parameters = inspect.signature(module.forward).parameters
        required = [n for n in forward_names(module) if parameters[n].default is inspect.Parameter.empty]
        trace(name, taking(copy.copy(module), required or forward_names(module)[:1]), options)
    except QuantbentoError as error:
        return [str(error)]
    return []


def choose(name: str, module: Any, options: FxOptions) -> list[str]:
    """Names of the layers to quantize.

    Raises:
        QuantbentoError: the module has none, the options leave none, or its layers cannot be replaced.
    """
    import torch

    if (exported := program_of(module) is not None) or isinstance(module, torch.jit.ScriptModule):
        raise QuantbentoError(
            f"{name} traces a model's Python code, and {'a torch.export program' if exported else 'TorchScript'} has "
            "none. Use onnx-static, or name the Python module with `factory:` and its `weights:`"
        )
    hidden = tuple(f"{n}." for n in untraced(module, options))
    found = [n for n, m in module.named_modules() if n and type(m) in _layers() and not f"{n}.".startswith(hidden)]
    chosen = select(found, options.include, options.exclude, "layer that can be quantized") if found else []
    if not chosen:
        raise QuantbentoError(
            f"{name} would quantize nothing: inside the model are {len(found)} layers it can quantize "
            f"({', '.join(kind.__name__ for kind in _layers())}) and the patterns leave none"
        )
    return chosen


def layers(name: str, module: Any, options: FxOptions) -> dict[str, int]:
    """The layers to quantize, by the pattern that names each, with the number of their weights. Raises as `choose`."""
    chosen = choose(name, module, options)
    return {p: module.get_submodule(n).weight.numel() for p, n in zip(exactly(chosen), chosen, strict=True)}


def prepare(
    name: str,
    source: torch.nn.Module,
    options: FxOptions,
    chosen: Sequence[str],
    qconfig: Callable[[torch.nn.Module], Any],
    example: dict[str, torch.Tensor],
    training: bool = False,
) -> Any:
    """A copy of the module with its layers fused, and observers or fake quantization put in.

    Args:
        chosen: names of the layers to quantize.
        qconfig: torch.ao's settings for a layer; given the whole module, those of operators without weights.
        example: a batch, with all inputs that the model will be given.
        training: prepares for quantization-aware training.

    Raises:
        QuantbentoError: the module cannot be traced.
    """
    from torch.ao.quantization import QConfigMapping
    from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
    from torch.ao.quantization.quantize_fx import prepare_fx, prepare_qat_fx

    module = taking(copy.deepcopy(source).train(training), list(example))
    mapping = QConfigMapping().set_global(qconfig(module))
    for layer, found in module.named_modules():
        if layer and type(found) in _layers():
            mapping.set_module_name(layer, qconfig(found) if layer in chosen else None)
    for kind in _transposed():
        mapping.set_object_type(kind, None)
    custom = PrepareCustomConfig().set_non_traceable_module_names(untraced(module, options))
    trace(name, module, options)
    with quiet():
        do = prepare_qat_fx if training else prepare_fx
        return do(module, mapping, tuple(example.values()), prepare_custom_config=custom, backend_config=_kernels())


def tensors(batch: Arrays) -> dict[str, torch.Tensor]:
    """A batch as the model takes it."""
    import torch

    return {name: torch.from_numpy(np.require(value, requirements=("C", "W"))) for name, value in batch.items()}


def examples(task: ArrayTask) -> list[dict[str, torch.Tensor]]:
    """The task's examples in batches of several sizes, the largest last."""
    items = [task.encode(item) for item in task.examples()]
    return [tensors(task.collate((items * size)[:size])) for size in SIZES if size <= task.chunk_items]


def observe(prepared: Any, batches: Sequence[dict[str, torch.Tensor]]) -> None:
    """Measures ranges of activations."""
    import torch

    with torch.no_grad(), quiet():
        for batch in batches:
            prepared(**batch)


def convert(prepared: Any, engine: str) -> Any:
    """The module with INT8 layers, in a form that can be pickled."""
    from torch.ao.quantization.quantize_fx import convert_fx

    from quantbento.runtimes.torch import packing_for

    with quiet(), packing_for(engine):
        done = convert_fx(prepared, backend_config=_kernels())
    for node in done.graph.nodes:
        node.type = None  # annotations; as strings they cannot be pickled
    done.recompile()
    return done.eval()


def save(name: str, done: Any, options: FxOptions, folder: Path) -> None:
    """Writes the result in the form that the options ask for.

    Raises:
        QuantbentoError: it cannot be compiled.
    """
    import torch

    from quantbento.runtimes import torch as runtime

    if options.form == "torchscript":
        try:
            with quiet():
                done = torch.jit.freeze(torch.jit.script(done))
        except Exception as error:  # the compiler stops at much
            raise QuantbentoError(
                f"{name}: the INT8 model cannot be compiled to TorchScript: {summary(error)}. Leave `form` out: it is "
                "then stored as a pickle"
            ) from error
    runtime.save(done, folder)


def count(name: str, source: torch.nn.Module, done: Any, chosen: Sequence[str], config: dict[str, Any]) -> Quantized:
    """Counts by looking at the result: a layer that torch has no INT8 kernel for, where it stands, or that the model
    does not call, is not quantized though it was chosen.

    Raises:
        QuantbentoError: there is none.
    """
    before, after = dict(source.named_modules()), dict(done.named_modules())
    layers = [n for n in chosen if _is_int8(after.get(n))]
    if not layers:
        raise QuantbentoError(
            f"{name} quantized none of the {len(chosen)} layers that were chosen: torch has no INT8 kernel for them "
            f"where they stand, or the model does not call them. Use {ELSE}"
        )
    functions = [node for node in done.graph.nodes if _is_packed_call(node)]
    packed = {a.target for node in functions for a in node.args if getattr(a, "op", "") == "get_attr"}
    others = sum(getattr(done, target).unpack()[0].numel() for target in packed if "packed" in target)
    return Quantized(
        config,
        dict(Counter([type(before[n]).__name__ for n in layers] + [node.target.__name__ for node in functions])),
        quantized_parameters=sum(before[n].weight.numel() for n in layers) + others,
        parameters=sum(p.numel() for p in source.parameters()),
        left_out=[n for n in chosen if n not in layers],
    )


def runtime_config(task: ArrayTask, options: FxOptions) -> dict[str, Any]:
    """What the runtime needs to load the result."""
    return {"output_names": task.output_names} | ({"quantized_engine": options.engine} if options.backend else {})


@contextmanager
def quiet() -> Iterator[None]:
    """Silences torch.ao: it is deprecated, and reports what `count` finds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _layers() -> tuple[Any, ...]:
    from torch import nn

    return (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _transposed() -> tuple[Any, ...]:
    """Transposed convolutions. oneDNN's INT8 kernels for them are wrong where the stride is above 1 (torch 2.13): an
    SQNR of -2 dB instead of 38."""
    from torch import nn

    f = nn.functional
    layers = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return (*layers, f.conv_transpose1d, f.conv_transpose2d, f.conv_transpose3d)


def _kernels() -> Any:
    """What all engines have in common: the result then loads on any machine."""
    from torch.ao.quantization.backend_config import get_native_backend_config

    return get_native_backend_config()


def _is_int8(module: Any) -> bool:
    place = type(module).__module__  # "reference" modules compute in float
    return place.startswith("torch.ao.nn.") and "quantized" in place and "reference" not in place


def _is_packed_call(node: Any) -> bool:
    """Whether it is a quantized operator with weights that are no layer's: `F.linear(x, self.weight)`."""
    if node.op != "call_function" or getattr(node.target, "__module__", "") != "torch._ops.quantized":
        return False
    return any(getattr(a, "op", "") == "get_attr" and "packed" in str(a.target) for a in node.args)
