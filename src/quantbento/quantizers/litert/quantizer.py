"""INT8 for LiteRT (formerly TensorFlow Lite): a PyTorch module becomes a .tflite file, which phones and boards run too.

`torch.export` writes the module here. litert-torch, whose pins conflict with ours, converts it in an isolated
environment, and AI Edge Quantizer rounds the weights to 8 bits, with one scale per channel. `full-integer` measures the
activations' ranges on calibration samples, and the file takes and gives 8-bit integers; `dynamic-range` takes
activations to 8 bits at run time.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Data, Quantized, Quantizer, QuantizerOptions
from quantbento.quantizers.litert import graph, program
from quantbento.quantizers.litert.graph import Operator
from quantbento.runtimes.litert import MODEL, items

WORKER = Path(__file__).with_name("litert_worker.py")
# The torch of this environment's version: it reads what this one has exported.
REQUIREMENTS = (
    "litert-torch==0.10.0",
    "ai-edge-quantizer==0.10.0",
    "litert-converter==0.5.0",
    "ai-edge-litert==2.3.0",
    "torch>=2.13,<2.14",
)
RECIPES = {"full-integer": "static_wi8_ai8", "dynamic-range": "dynamic_wi8_afp32"}  # as AI Edge Quantizer calls them
SCHEMES = {"full-integer": "int8-static", "dynamic-range": "int8-dynamic"}


class LiteRtOptions(QuantizerOptions):
    mode: Literal["full-integer", "dynamic-range"] = Field(
        "dynamic-range",
        description="full-integer: activations have scales measured on calibration samples, also in what the file "
        "takes and gives; dynamic-range: they are quantized at run time",
    )


class LiteRt(Quantizer):
    name = "litert"
    scheme = "int8-dynamic"
    runtimes = ("litert",)
    starts_from = ("module",)
    optional_data = "calibration"
    modules = ("torch", "uv", "ai_edge_litert")
    distributions = ("torch",)  # the worker's environment is pinned by `REQUIREMENTS`
    extra = "quantize"
    usual_for = ()  # it is for phones and boards; on servers, others are faster
    Options = LiteRtOptions

    @classmethod
    def made_on_first_use(cls) -> str | None:
        return isolated.made_on_first_use(REQUIREMENTS)

    def needs(self, options: LiteRtOptions) -> Data | None:
        return "calibration" if options.mode == "full-integer" else None

    def scheme_of(self, options: LiteRtOptions) -> str:
        return SCHEMES[options.mode]

    def preflight_module(self, module: Any, options: LiteRtOptions) -> list[str]:
        import torch

        if isinstance(module, torch.jit.ScriptModule):
            return [
                "litert exports the model with torch.export, which does not take TorchScript; use onnx-static, or name "
                "the Python module with `factory:` and its `weights:`"
            ]
        return []

    def quantize(self, job: Job, options: LiteRtOptions, folder: Path) -> Quantized:
        module = job.source.module
        assert module is not None
        if problems := self.preflight_module(module, options):
            raise QuantbentoError(problems[0])
        calibrates = options.mode == "full-integer"
        with tempfile.TemporaryDirectory(prefix="quantbento-") as temporary:
            space = Path(temporary)
            program.write(module, job.task, space / "program.pt2")
            if calibrates:
                _write_items(job, space / "calibration")
            work = {
                "program": str(space / "program.pt2"),
                "calibration": str(space / "calibration") if calibrates else None,
                "method": RECIPES[options.mode],
                "output": str(space / MODEL),
            }
            python = isolated.environment(REQUIREMENTS, job.progress.say)
            with job.progress.stage(self.name) as advance:
                isolated.run(python, WORKER, work, lambda stage, done, total: advance(done, total))
            (folder / MODEL).write_bytes((space / MODEL).read_bytes())
        parameters = sum(p.numel() for p in module.parameters())
        config = {"outputs": program.output_axes(job.task)}
        return count(graph.operators(folder / MODEL), options.mode, config, parameters)


def count(found: list[Operator], mode: str, config: dict[str, Any], parameters: int) -> Quantized:
    """Counts what is quantized among a file's operators.

    Raises:
        QuantbentoError: nothing is.
    """
    quantized = [operator for operator in found if operator.weights]
    if not quantized:
        has = ", ".join(f"{n} {kind}" for kind, n in Counter(o.kind for o in found).most_common(5))
        raise QuantbentoError(f"litert would quantize nothing: no operator has weights in 8 bits (the file has {has})")
    floats = Counter(operator.kind for operator in found if operator.floats)
    notes = []
    if mode == "full-integer" and floats:
        notes.append("computed in floats: " + ", ".join(f"{n} {kind}" for kind, n in floats.most_common()))
    return Quantized(
        config,
        dict(Counter(operator.kind for operator in quantized)),
        graph.weights(quantized),
        parameters,
        left_out=[operator.name for operator in found if operator.float_weights],
        notes=notes,
    )


def _write_items(job: Job, folder: Path) -> None:
    """The calibration samples one by one, each in the shape that the file takes."""
    folder.mkdir()
    shapes = {name: value.shape for name, value in program.example(job.task).items()}
    single = [item for batch in job.calibration for item in items(batch, shapes)]
    for name in shapes:
        np.save(folder / f"{name}.npy", np.stack([item[name] for item in single]))
