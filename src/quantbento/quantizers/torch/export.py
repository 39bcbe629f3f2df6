"""INT8 by PyTorch 2 export (PT2E): the model's graph, with quantize and dequantize operators around its layers.

The stored file is a `torch.export` program, which loads without the model's class and without torchao. By itself it
computes in float32 and rounds, which is slower than the original. `compile` lets Inductor turn the operators around a
layer into one INT8 kernel when the model is loaded; that needs a C++ compiler and takes about a minute.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs.job import Job
from quantbento.quantizers.base import (
    Data,
    Quantized,
    Quantizer,
    QuantizerOptions,
    exactly,
    select,
    warn_if_products_saturate,
)
from quantbento.quantizers.torch import fx, pt2e
from quantbento.quantizers.torch.pt2e import ELSE, WRAPPED
from quantbento.runtimes.module_files import exported_module, program_of
from quantbento.runtimes.torch import COMPILED, compiler_problem, save
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.outputs import named_outputs

if TYPE_CHECKING:
    import torch

OPERATORS = "torch.ao.quantization.fx._decomposed"  # registers the quantize and dequantize operators
NOT_COMPILED = "not compiled: it computes in float32 and rounds, which is slower than full precision"


class TorchExportOptions(QuantizerOptions):
    dynamic: bool = Field(False, description="activations are measured at run time; linear layers only")
    include: list[str] = Field(["*"], description="fnmatch patterns of layers' names")
    exclude: list[str] = Field([], description="fnmatch patterns of layers kept in full precision")
    reduce_range: bool = Field(False, description="7-bit activations, for x86 CPUs without VNNI, which saturate")
    compile: bool = Field(True, description="compile the model when it is loaded; needs a C++ compiler there")


class TorchExport(Quantizer):
    name = "torch-export"
    scheme = "int8-static"
    runtimes = ("torch",)
    starts_from = ("module",)
    optional_data = "calibration"
    modules = ("torch", "torchao")
    distributions = ("torch", "torchao")
    extra = "quantize"
    keeps = "exclude"
    usual_for = ()  # needs a compiler where it is served
    runs_on = ("cpu",)
    Options = TorchExportOptions

    def scheme_of(self, options: TorchExportOptions) -> str:
        return "int8-dynamic" if options.dynamic else self.scheme

    def needs(self, options: TorchExportOptions) -> Data | None:
        return None if options.dynamic else "calibration"

    def preflight_module(self, module: Any, options: TorchExportOptions) -> list[str]:
        import torch

        problem = compiler_problem() if options.compile else None
        problems = [f"torch-export compiles the model: {problem}; or set compile: false"] if problem else []
        if platform.machine().lower() not in ("x86_64", "amd64"):
            problems.append(f"torch-export is for x86 CPUs, and this one is {platform.machine()}; use {ELSE}")
        if isinstance(module, torch.jit.ScriptModule):
            problems.append(f"torch-export cannot export TorchScript; use {ELSE}")
        return problems

    def layers(self, job: Job, options: TorchExportOptions) -> dict[str, int]:
        with pt2e.quiet(), job.progress.stage(f"{self.name}: export"):
            module = _exported(job)
        found = pt2e.weight_counts(module.model)
        chosen = _chosen(pt2e.candidates(module.model, options.dynamic), options)
        return {pattern: found[name] for pattern, name in zip(exactly(chosen), chosen, strict=True)}

    def quantize(self, job: Job, options: TorchExportOptions, folder: Path) -> Quantized:
        source: Any = job.source.module
        warn_if_products_saturate(options.reduce_range)
        examples = fx.examples(job.task)
        batches = examples if options.dynamic else [fx.tensors(batch) for batch in job.calibration]
        with pt2e.quiet(), job.progress.stage(f"{self.name}: export and measure"):
            module = _exported(job)
            chosen = _chosen(pt2e.candidates(module.model, options.dynamic), options)
            pt2e.quantize(module, chosen, batches, options.dynamic, options.reduce_range)
            done = exported_module(_export(module, job.task, examples[-1], as_it_is=program_of(source) is not None))
            _try(done, examples)
            save(done, folder)
        counted = pt2e.count(module.model, chosen, sum(p.numel() for p in source.parameters()))
        config, note = {"output_names": job.task.output_names, "operators": OPERATORS}, NOT_COMPILED
        if options.compile:
            config, note = config | {"compile": True, "freezing": True}, COMPILED
        return replace(counted, runtime_config=config, notes=[note])


def _exported(job: Job) -> Any:
    """The job's model as a module around an exported graph."""
    source: Any = job.source.module
    module: Any = exported_module(program_of(source) or _export(source, job.task, fx.examples(job.task)[-1]))
    module.model.graph.eliminate_dead_code()  # what no output needs; torchao's patterns fail on it
    return module


def _chosen(names: list[str], options: TorchExportOptions) -> list[str]:
    chosen = select(names, options.include, options.exclude, "layer that can be quantized")
    if not chosen:
        kinds = "linear" if options.dynamic else "linear and two-dimensional convolution"
        raise QuantbentoError(
            f"torch-export would quantize nothing: the exported model has {len(names)} layers it can quantize "
            f"({kinds} layers) and the patterns leave none"
        )
    return chosen


def _export(module: Any, task: ArrayTask, example: dict[str, torch.Tensor], as_it_is: bool = False) -> Any:
    """The module as a program that takes its inputs by name and gives the task's outputs by name.

    Args:
        as_it_is: its sizes may be fixed, as those of a program that was exported so.

    Raises:
        QuantbentoError: it cannot be exported.
    """
    import torch

    dimension = torch.export.Dim.AUTO if as_it_is else torch.export.Dim.DYNAMIC
    axes = task.dynamic_axes()
    # An axis that has one member here always has one: `fx.SIZES` go up to what the task puts into a batch.
    shapes = {name: {a: dimension for a in axes[name] if t.shape[a] > 1} for name, t in example.items()}
    try:
        with torch.no_grad():
            return torch.export.export(_by_name(module, task), (), example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # the model's own code runs
        raise QuantbentoError(f"torch-export cannot export the model: {summary(error)}. Use {ELSE}") from error


def _by_name(module: Any, task: ArrayTask) -> Any:
    import torch

    class ByName(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(WRAPPED, module)

        def forward(self, **inputs: Any) -> Any:
            result = named_outputs(module(**inputs))
            return {name: result[name] for name in task.output_names}

    kinds = inspect.Parameter
    given = [kinds("self", kinds.POSITIONAL_ONLY), *(kinds(name, kinds.KEYWORD_ONLY) for name in task.input_names)]
    ByName.forward.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    return ByName().eval()


def _try(module: Any, batches: Sequence[dict[str, torch.Tensor]]) -> None:
    """
    Raises:
        QuantbentoError: what was exported does not take batches of other sizes.
    """
    import torch

    for batch in batches:
        try:
            with torch.no_grad():
                module(**batch)
        except Exception as error:
            size = next(iter(batch.values())).shape[0]
            raise QuantbentoError(
                f"the exported model fails on a batch of {size}: {summary(error)}. Use {ELSE}"
            ) from error
