"""Quantization-aware training of a PyTorch module, by the user's own training function.

The function gets a copy of the model that rounds weights and activations as INT8 will, in training mode, and trains it
as ever: rounding passes gradients through. What it learned is then converted to INT8. For models that lose accuracy in
`torch-static`; the graph is traced as there. Scales are trained too, by default (Learned Step Size Quantization, Esser
et al. 2020, https://arxiv.org/abs/1902.08153): with 2-bit weights, the digits' classifier keeps an accuracy of 0.975 of
0.978, and 0.395 where the observed ranges are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.user_code import UserCode
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, warn_if_products_saturate
from quantbento.quantizers.torch import fx
from quantbento.quantizers.torch.fx_options import FxOptions, engine_of
from quantbento.tasks.source import SampleSet

OBSERVED = 256  # samples that the first ranges are taken from; training moves them


class TorchQatOptions(FxOptions):
    train: UserCode | None = Field(
        None, description="needed: your function, called as train(model, samples, epochs); trains in place"
    )
    epochs: int = Field(5, ge=1, description="passed on to your function")
    learnt_scales: bool = Field(True, description="scales are parameters too, which your optimizer trains (LSQ)")


class TorchQat(Quantizer):
    name = "torch-qat"
    scheme = "int8-static"
    runtimes = ("torch",)
    starts_from = ("module",)
    usual_for = ()
    data = "training"
    modules = ("torch",)
    distributions = ("torch", "cloudpickle")
    extra = "quantize"
    runs_on = ("cpu",)
    keeps = "exclude"
    Options = TorchQatOptions
    quickest = {"epochs": 1}

    def preflight_module(self, module: Any, options: TorchQatOptions) -> list[str]:
        return fx.problems(self.name, module, options)

    def layers(self, job: Job, options: TorchQatOptions) -> dict[str, int]:
        return fx.layers(self.name, job.source.module, options)

    def quantize(self, job: Job, options: TorchQatOptions, folder: Path) -> Quantized:
        if options.train is None:
            raise QuantbentoError(
                "torch-qat trains by a function of yours: name it in `options: {train: module:function}`; it is called "
                "as train(model, samples, epochs)"
            )
        source, samples = job.source.module, job.training
        assert source is not None and samples is not None
        warn_if_products_saturate(options.reduce_range)
        chosen, engine = fx.choose(self.name, source, options), engine_of(options)
        batches = [fx.tensors(batch) for batch in job.task.calibrate(samples.inputs[:OBSERVED], None)]
        prepared = fx.prepare(
            self.name, source, options, chosen, lambda m: _qconfig(m, options), batches[0], training=True
        )
        fx.observe(prepared.eval(), batches)
        if options.learnt_scales:
            for module in prepared.modules():
                if hasattr(module, "enable_param_learning"):
                    module.enable_param_learning()
        with job.progress.stage(f"{self.name}: train {options.epochs} epochs"):
            _train(options.train, prepared.train().requires_grad_(True), samples, options.epochs)
        done = fx.convert(prepared.eval(), engine)
        fx.save(self.name, done, options, folder)
        return fx.count(self.name, source, done, chosen, fx.runtime_config(job.task, options))


def _train(reference: str, model: Any, samples: SampleSet, epochs: int) -> None:
    """
    Raises:
        QuantbentoError: the function fails, changes no weight, or makes one infinite.
    """
    import torch

    function = user_code.resolve(reference)
    if not callable(function):
        raise QuantbentoError(f"{reference!r} is a {type(function).__name__}, not a function")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    try:
        with fx.quiet():
            function(model, samples, epochs)
    except QuantbentoError:
        raise
    except Exception as error:
        raise QuantbentoError(
            f"{reference!r} failed: {summary(error)}. It is called as train(model, samples, epochs), where "
            "samples.inputs are the model's inputs by name, one by one, and samples.labels are theirs"
        ) from error
    after = dict(model.named_parameters())
    if broken := [n for n, p in after.items() if not torch.isfinite(p).all()]:
        raise QuantbentoError(
            f"{reference!r} made {broken[0]} infinite or not a number, and {len(broken) - 1} others; train with a "
            "smaller learning rate"
        )
    if all(torch.equal(p, before[n]) for n, p in after.items()):
        raise QuantbentoError(f"{reference!r} changed no weight: it has to train the model that it is given, in place")


def _qconfig(layer: Any, options: TorchQatOptions) -> Any:
    import torch
    from torch.ao.quantization import (
        FusedMovingAvgObsFakeQuantize,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
        QConfig,
    )
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

    per_channel = options.per_channel
    scheme = torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric
    observer = MovingAveragePerChannelMinMaxObserver if per_channel else MovingAverageMinMaxObserver
    kind: Any = FusedMovingAvgObsFakeQuantize
    channels, moves = dict[str, Any](), dict[str, Any]()
    if options.learnt_scales:
        kind, moves = _LearnableFakeQuantize, {"use_grad_scaling": True}
        channels = {"channel_len": layer.weight.shape[0]} if per_channel and hasattr(layer, "weight") else {}
    activation = kind.with_args(
        observer=MovingAverageMinMaxObserver, dtype=torch.quint8, **options.activation_range, **moves
    )
    weight = kind.with_args(
        observer=observer, dtype=torch.qint8, qscheme=scheme, **options.weight_range, **moves, **channels
    )
    return QConfig(activation, weight)
