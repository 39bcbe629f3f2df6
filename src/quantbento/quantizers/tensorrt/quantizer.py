"""INT8, FP8 or FP16 for TensorRT on NVIDIA's GPUs: an ONNX graph becomes one in which every tensor says its type.

NVIDIA's Model Optimizer, whose pins conflict with ours, writes it in an isolated environment, on the CPU. For INT8 and
FP8 it measures activations on calibration samples, puts QuantizeLinear and DequantizeLinear around the layers that
TensorRT has 8-bit kernels for, and turns the rest to float16. It leaves layers out that would not get faster: products
with fewer than 16 rows or columns, small convolutions, in FP8 most convolutions of few channels. The file can be taken
to any GPU; TensorRT compiles it for the one it finds (`quantbento.runtimes.tensorrt`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Data, Quantized, Quantizer, QuantizerOptions, select
from quantbento.quantizers.onnx.base import Graph
from quantbento.quantizers.onnx.candidates import listed, operators
from quantbento.quantizers.tensorrt.graph import Layer, layers
from quantbento.runtimes.onnx import MODEL
from quantbento.runtimes.tensorrt_profile import profile
from quantbento.tasks.base import Arrays

WORKER = Path(__file__).with_name("tensorrt_worker.py")
# Model Optimizer's extra `onnx` without what only GPUs can use: cupy, and ONNX Runtime's build for them.
REQUIREMENTS = (
    "nvidia-modelopt==0.47.0",
    "torch>=2.13,<2.14",
    "onnx==1.21.0",
    "onnxruntime==1.24.4",
    "onnx-graphsurgeon==0.6.1",
    "onnxconverter-common==1.16.0",
    "onnxscript==0.7.2",
    "onnxslim==0.1.98",
    "polygraphy==0.53.6",
    "lief==1.0.0",
    "cppimport==26.4.17",
    "ml-dtypes==0.6.0",
)
SCHEMES = {"int8": "int8-static", "fp8": "fp8-static", "fp16": "fp16"}


class TensorRtOptions(QuantizerOptions):
    precision: Literal["int8", "fp8", "fp16"] = Field(
        "int8", description="fp8 needs a GPU of the generation Ada, Hopper or later; what is not in 8 bits is in FP16"
    )
    calibration_method: Literal["entropy", "max"] = Field(
        "entropy", description="what the range of an activation is: without outliers, or all that was seen"
    )
    exclude_nodes: list[str] = Field([], description="fnmatch patterns of node names; of fp16, they stay in float32")

    @model_validator(mode="after")
    def _possible(self) -> TensorRtOptions:
        if "calibration_method" in self.model_fields_set and self.precision == "fp16":
            raise ValueError("calibration_method goes with precision: int8 or fp8")
        return self


class TensorRt(Quantizer):
    name = "tensorrt"
    scheme = "int8-static"
    runtimes = ("tensorrt",)
    starts_from = ("module", "onnx")
    optional_data = "calibration"
    modules = ("onnx", "onnxruntime", "onnxscript", "uv")
    distributions = ("onnx", "onnxscript", "onnx-ir")  # the worker's environment is pinned by `REQUIREMENTS`
    extra = "quantize"
    devices = ("cuda",)
    usual_for = ()  # a recipe has it on purpose: most other variants cannot run on the GPU beside it
    Options = TensorRtOptions

    @classmethod
    def made_on_first_use(cls) -> str | None:
        return isolated.made_on_first_use(REQUIREMENTS)

    def needs(self, options: TensorRtOptions) -> Data | None:
        return None if options.precision == "fp16" else "calibration"

    def scheme_of(self, options: TensorRtOptions) -> str:
        return SCHEMES[options.precision]

    def quantize(self, job: Job, options: TensorRtOptions, folder: Path) -> Quantized:
        graph = Graph.of(job)
        nodes = [node.name for node in graph.model.graph.node]
        kept = select(nodes, ["*"], options.exclude_nodes, "node")
        with tempfile.TemporaryDirectory(prefix="quantbento-") as temporary:
            space = Path(temporary)
            for name in ("given", "made", "calibration"):
                (space / name).mkdir()
            graph.save(space / "given")
            write_batches(job.calibration or [], graph, space / "calibration")
            work = {
                "graph": str(space / "given" / MODEL),
                "precision": options.precision,
                "calibration": str(space / "calibration") if job.calibration else None,
                "method": options.calibration_method,
                "exclude": sorted(set(nodes) - set(kept)),
                "output": str(space / "made" / MODEL),
            }
            python = isolated.environment(REQUIREMENTS, job.progress.say)
            with job.progress.stage(self.name) as advance:
                isolated.run(python, WORKER, work, lambda stage, done, total: advance(done, total))
            found = layers(space / "made" / MODEL, options.precision)
            if not any(layer.low for layer in found):
                has = listed(operators(graph.model.graph), 5)
                these = "have values too large for it" if options.precision == "fp16" else "are too small to get faster"
                raise QuantbentoError(
                    f"tensorrt would quantize nothing: Model Optimizer put no weights into {options.precision} "
                    f"(the graph has {has}); it leaves out layers that {these}"
                )
            shutil.copytree(space / "made", folder, dirs_exist_ok=True)
        config = {"profile": profile(folder / MODEL, job.task, job.calibration or [])}
        return count(found, config, graph.parameters, graph.notes)


def count(found: list[Layer], config: dict[str, Any], parameters: int, notes: list[str]) -> Quantized:
    """What was done to a graph's layers."""
    low = [layer for layer in found if layer.low]
    quantized = sum({layer.weights: layer.count for layer in low}.values())
    return Quantized(
        config,
        dict(Counter(layer.kind for layer in low)),
        min(quantized, parameters),  # weights that layers share were written once for each
        parameters,
        left_out=[layer.node for layer in found if not layer.low],
        notes=notes,
    )


def write_batches(batches: list[Arrays], graph: Graph, folder: Path) -> None:
    """Calibration batches, each with the inputs that the graph has. The largest is the first: Model Optimizer looks at
    it alone to see which products have one row, and leaves those out."""
    names = {value.name for value in graph.model.graph.input}
    ordered = sorted(batches, key=lambda batch: max(value.size for value in batch.values()), reverse=True)
    for number, batch in enumerate(ordered):
        used: dict[str, Any] = {name: value for name, value in batch.items() if name in names}
        np.savez(folder / f"{number:05}.npz", **used)
