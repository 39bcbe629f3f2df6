"""INT8 weights and activations for a PyTorch module, with scales measured once on calibration samples.

For convolutional networks above all: `torch-dynamic` leaves convolutions in full precision. The graph is traced by
torch.ao's FX graph mode (`quantizers/torch/fx.py`), and the pickled module holds that graph, not the model's class. The
API is deprecated upstream (pytorch/ao#2259); its successor compiles the model where it is served.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, warn_if_products_saturate
from quantbento.quantizers.torch import fx
from quantbento.quantizers.torch.fx_options import FxOptions, engine_of


class TorchStaticOptions(FxOptions):
    observer: Literal["histogram", "minmax"] = Field(
        "histogram", description="the range of an activation: with the least error, or all that was seen"
    )


class TorchStatic(Quantizer):
    name = "torch-static"
    scheme = "int8-static"
    runtimes = ("torch",)
    starts_from = ("module",)
    data = "calibration"
    modules = ("torch",)
    distributions = ("torch", "cloudpickle")
    extra = "quantize"
    usual_for = ("convolution",)
    runs_on = ("cpu",)
    keeps = "exclude"
    Options = TorchStaticOptions

    def preflight_module(self, module: Any, options: TorchStaticOptions) -> list[str]:
        return fx.problems(self.name, module, options)

    def layers(self, job: Job, options: TorchStaticOptions) -> dict[str, int]:
        return fx.layers(self.name, job.source.module, options)

    def quantize(self, job: Job, options: TorchStaticOptions, folder: Path) -> Quantized:
        source = job.source.module
        assert source is not None
        warn_if_products_saturate(options.reduce_range)
        chosen, engine = fx.choose(self.name, source, options), engine_of(options)
        batches, qconfig = [fx.tensors(batch) for batch in job.calibration], _qconfig(options)
        prepared = fx.prepare(self.name, source, options, chosen, lambda _: qconfig, batches[0])
        with job.progress.stage(f"{self.name}: calibrate"):
            fx.observe(prepared, batches)
        done = fx.convert(prepared, engine)
        fx.save(self.name, done, options, folder)
        return fx.count(self.name, source, done, chosen, fx.runtime_config(job.task, options))


def _qconfig(options: TorchStaticOptions) -> Any:
    import torch
    from torch.ao.quantization import HistogramObserver, MinMaxObserver, PerChannelMinMaxObserver, QConfig

    observer = HistogramObserver if options.observer == "histogram" else MinMaxObserver
    activation = observer.with_args(dtype=torch.quint8, **options.activation_range)
    weights = {"dtype": torch.qint8, **options.weight_range}
    if options.per_channel:
        weight = PerChannelMinMaxObserver.with_args(qscheme=torch.per_channel_symmetric, **weights)
    else:
        weight = MinMaxObserver.with_args(qscheme=torch.per_tensor_symmetric, **weights)
    return QConfig(activation, weight)
