"""A PyTorch module as a TorchScript file, which loads without the class, in Python or C++: in INT8, or as it is.

INT8 is that of `torch-dynamic`. `trace` records what the module does with an example; `script` compiles its code.
Before it is saved, the result is run beside the module on batches of several sizes. TorchScript is deprecated upstream
in favour of torch.export, whose programs INT8 layers cannot be part of.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer
from quantbento.quantizers.torch import dynamic, fx
from quantbento.quantizers.torch.dynamic import TorchDynamicOptions
from quantbento.runtimes.module_files import program_of
from quantbento.tasks.outputs import named_outputs

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4  # of the largest value: operators that were fused round otherwise


class TorchScriptOptions(TorchDynamicOptions):
    method: Literal["trace", "script"] = Field(
        "trace", description="trace: what it does with an example; script: its code, with branches and loops"
    )
    int8: bool = Field(True, description="false: full precision, only exported")
    keep_branches: bool = Field(
        False, description="trace: what the code decides by sizes and values stays as with the example"
    )

    @model_validator(mode="after")
    def _possible(self) -> TorchScriptOptions:
        given = sorted({"include", "exclude", "per_channel"} & self.model_fields_set)
        if given and not self.int8:
            raise ValueError(f"{', '.join(given)} would have no effect with int8: false; leave it out")
        if self.keep_branches and self.method == "script":
            raise ValueError("keep_branches goes with method: trace; a script has all branches")
        return self


class TorchScript(Quantizer):
    name = "torchscript"
    scheme = "int8-dynamic"
    runtimes = ("torch",)
    starts_from = ("module",)
    optional_data = "calibration"  # to prove the export on
    modules = ("torch",)
    distributions = ("torch",)
    extra = "quantize"
    usual_for = ()
    Options = TorchScriptOptions

    def scheme_of(self, options: TorchScriptOptions) -> str:
        return self.scheme if options.int8 else "float32"

    def preflight_module(self, module: Any, options: TorchScriptOptions) -> list[str]:
        try:
            _refuse_files(module)
        except QuantbentoError as error:
            return [str(error)]
        if hasattr(module, "main_input_name") and options.method == "trace" and not options.keep_branches:
            return ["models of Transformers decide by sizes: torchscript traces them with `keep_branches: true` only"]
        return dynamic.TorchDynamic().preflight_module(module, options) if options.int8 else []

    def quantize(self, job: Job, options: TorchScriptOptions, folder: Path) -> Quantized:
        import torch

        from quantbento.runtimes import torch as runtime

        source = job.source.module
        assert source is not None
        _refuse_files(source)
        config = {"output_names": job.task.output_names}
        if options.int8:
            module, done = dynamic.quantized(source, options, config)
        else:
            module = copy.deepcopy(source)
            parameters = sum(p.numel() for p in source.parameters())
            done = Quantized(config, {}, 0, parameters, notes=["full precision, as asked: nothing was quantized"])
        batches = _batches(job)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if options.method == "script":
                exported, decided = _scripted(module), ""
            else:
                exported, decided = _traced(module, batches[-1])
            if decided and not options.keep_branches:
                raise QuantbentoError(
                    f"a trace would not be the model: its code decides by a size or a value, at {decided}, and the "
                    "trace would decide as with the example for ever. Use `method: script`, or, if that is right for "
                    "all your inputs, `keep_branches: true`"
                )
            _prove_equal(exported, module, batches, options.method)
        runtime.save(exported, folder)
        notes = [f"always decided as with the example: {decided}; equal on {len(batches)} batches"] if decided else []
        return replace(done, notes=[*done.notes, *notes])


def _refuse_files(module: Any) -> None:
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise QuantbentoError("the model is TorchScript already; torch-dynamic quantizes it, as TorchScript")
    if program_of(module) is not None:
        raise QuantbentoError(
            "torchscript needs a module, and the model is a torch.export program. Use onnx-dynamic, or name the Python "
            "module with `factory:` and its `weights:`"
        )


def _batches(job: Job) -> list[dict[str, torch.Tensor]]:
    """What the export is proven on: calibration samples where the recipe has some, or else the task's examples, in
    batches of several sizes."""
    return [fx.tensors(batch) for batch in job.calibration or []] + fx.examples(job.task)


def _traced(module: Any, batch: dict[str, torch.Tensor]) -> tuple[Any, str]:
    """The trace, and the lines in which the module decides something by what it is given, which a trace does not.

    Raises:
        QuantbentoError: it cannot be traced.
    """
    import torch

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = torch.jit.trace(module, example_kwarg_inputs=batch, check_trace=False, strict=False)
    except Exception as error:  # the model's own code runs
        raise QuantbentoError(
            f"the model cannot be traced: {summary(error)}. Try `method: script`, or use torch-dynamic"
        ) from error
    decisions = [w for w in caught if issubclass(w.category, torch.jit.TracerWarning)]
    lines = [f"{Path(w.filename).name}, line {w.lineno}" for w in decisions]
    return made, "; ".join(dict.fromkeys(lines))


def _scripted(module: Any) -> Any:
    """
    Raises:
        QuantbentoError: its code is not what TorchScript can compile.
    """
    import torch

    try:
        return torch.jit.script(module)
    except Exception as error:
        raise QuantbentoError(
            f"the model's code cannot be compiled: {summary(error)}. Try `method: trace`, or use torch-dynamic"
        ) from error


def _prove_equal(exported: Any, module: Any, batches: Sequence[dict[str, torch.Tensor]], method: str) -> None:
    """
    Raises:
        QuantbentoError: the two differ on a batch, or the exported one fails on it.
    """
    for batch in batches:
        size = next(iter(batch.values())).shape[0]
        expected = named_outputs(module(**batch))
        try:
            found = named_outputs(exported(**batch))
        except Exception as error:
            raise QuantbentoError(
                f"the result of `method: {method}` fails on a batch of {size}: {summary(error)}. {_other(method)}"
            ) from error
        for name, value in expected.items():
            a, b = value.double().numpy(), found[name].double().numpy()
            near = TOLERANCE * max(1e-6, np.abs(a).max(initial=0))
            if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=near, equal_nan=True):
                raise QuantbentoError(
                    f"the result of `method: {method}` differs from the model in {name!r}, on a batch of {size}. "
                    f"{_other(method)}"
                )


def _other(method: str) -> str:
    return f"Try `method: {'script' if method == 'trace' else 'trace'}`, or use torch-dynamic"
