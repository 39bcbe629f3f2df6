"""`torch-dynamic`, stored so that `bentoml.picklable_model.load_model(tag)` loads it too, for services that do.

That module is deprecated since BentoML 1.4 and verifies nothing before it unpickles; `quantbento.load(tag)` does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer
from quantbento.quantizers.torch.dynamic import TorchDynamic, TorchDynamicOptions
from quantbento.runtimes.module_files import MODEL, PICKLABLE

NOTE = (
    "bentoml.picklable_model.load_model(tag) gives the bare module; it is deprecated since BentoML 1.4: "
    "quantbento.load(tag) takes its place, and verifies the file first"
)


class Picklable(Quantizer):
    name = "picklable"
    scheme = TorchDynamic.scheme
    runtimes = ("torch",)
    starts_from = ("module",)
    modules = TorchDynamic.modules
    distributions = TorchDynamic.distributions
    extra = TorchDynamic.extra
    usual_for = ()
    runs_on = TorchDynamic.runs_on
    Options = TorchDynamicOptions

    def preflight_module(self, module: Any, options: TorchDynamicOptions) -> list[str]:
        told = _no_pickle(module)
        return [told] if told else TorchDynamic().preflight_module(module, options)

    def quantize(self, job: Job, options: TorchDynamicOptions, folder: Path) -> Quantized:
        if told := _no_pickle(job.source.module):
            raise QuantbentoError(told)
        done = TorchDynamic().quantize(job, options, folder)
        (folder / MODEL).rename(folder / PICKLABLE)
        return replace(done, notes=[*done.notes, NOTE])


def _no_pickle(module: Any) -> str | None:
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return "picklable stores a pickled module, and TorchScript cannot be pickled; use torch-dynamic"
    return None
