"""INT8 by torchao: weights become tensors that know how to multiply themselves, and layers stay what they are.

Without `compile` PyTorch runs each step by itself, which is slower than float32 on most CPUs. With it the model is
compiled for this machine when it is loaded, which needs a C++ compiler and takes about a minute.
"""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.machine import saturates
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions, select
from quantbento.quantizers.torch import pt2e
from quantbento.quantizers.torch.dynamic import refuse_program, weights_of
from quantbento.runtimes import torch as runtime

SCHEMES = {"Int8DynamicActivationInt8Weight": "int8-dynamic", "Int8WeightOnly": "W8A32", "Int4WeightOnly": "W4A16"}


class TorchAoOptions(QuantizerOptions):
    config: Literal["Int8DynamicActivationInt8Weight", "Int8WeightOnly", "Int4WeightOnly"] = Field(
        "Int8DynamicActivationInt8Weight", description="as torchao calls it, without the Config at the end"
    )
    include: list[str] = Field(["*"], description="fnmatch patterns of module names")
    exclude: list[str] = []
    compile: bool = Field(False, description="compile the model when it is loaded; needs a C++ compiler there")


class TorchAo(Quantizer):
    name = "torchao"
    scheme = "int8-dynamic"
    runtimes = ("torch",)
    starts_from = ("module",)
    modules = ("torch", "torchao")
    distributions = ("torch", "torchao", "cloudpickle")
    extra = "quantize"
    keeps = "exclude"
    usual_for = ()  # slower than torch-dynamic where it is not compiled
    Options = TorchAoOptions

    def scheme_of(self, options: TorchAoOptions) -> str:
        return SCHEMES[options.config]

    def preflight_module(self, module: Any, options: TorchAoOptions) -> list[str]:
        try:
            _chosen(module, options)
        except QuantbentoError as error:
            return [str(error)]
        return []

    def layers(self, job: Job, options: TorchAoOptions) -> dict[str, int]:
        module: Any = job.source.module
        return weights_of({name: module.get_submodule(name) for name in _chosen(module, options)})

    def quantize(self, job: Job, options: TorchAoOptions, folder: Path) -> Quantized:
        source: Any = job.source.module
        chosen = _chosen(source, options)
        module = copy.deepcopy(source)
        with pt2e.quiet():
            from torchao.quantization import quantize_

            try:
                quantize_(module, _config(options), filter_fn=lambda _, name: name in chosen)
            except Exception as error:  # ImportError where there are no kernels, and others of its own
                raise QuantbentoError(
                    f"torchao cannot do {options.config} here: {summary(error)}; set config to another of its schemes"
                ) from error
            runtime.save(module, folder)
        before, after = dict(source.named_modules()), dict(module.named_modules())
        done = [name for name in chosen if type(after[name].weight.data).__module__.startswith("torchao")]
        if not done:
            raise QuantbentoError(f"torchao quantized none of the {len(chosen)} layers that were chosen")
        config = {"output_names": job.task.output_names} | ({"compile": True} if options.compile else {})
        return Quantized(
            config,
            dict(Counter(type(before[name]).__name__ for name in done)),
            quantized_parameters=sum(before[name].weight.numel() for name in done),
            parameters=sum(p.numel() for p in source.parameters()),
            left_out=[name for name in chosen if name not in done],
            notes=[runtime.COMPILED] if options.compile else [],
        )


def _chosen(module: Any, options: TorchAoOptions) -> list[str]:
    from torch import nn

    refuse_program("torchao", module)
    linears = {name: m for name, m in module.named_modules() if type(m) is nn.Linear}
    chosen = select(linears, options.include, options.exclude, "linear layer")
    if not chosen:
        raise QuantbentoError(
            f"torchao would quantize nothing: the model has {len(linears)} linear layers and the patterns leave none"
        )
    return chosen


def _config(options: TorchAoOptions) -> Any:
    import torchao.quantization as ao

    more = {"reduce_range": True} if options.config == "Int8DynamicActivationInt8Weight" and saturates() else {}
    return getattr(ao, f"{options.config}Config")(set_inductor_config=False, **more)
