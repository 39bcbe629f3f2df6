"""INT8 weights and activations for an ONNX graph, with scales measured once on calibration samples. For convolutions.

Activations have one scale per tensor, so that a channel with large values costs all others their precision. Some nodes
suffer far more from it than others. `min_sqnr_db` leaves those in full precision: every node is tried alone, and as
many are quantized as the outputs allow, first those that do the least harm for the time that they take.

ONNX Runtime fuses batch normalisation into convolutions first. Its quantizer writes QuantizeLinear and
DequantizeLinear around each node, which become integer operators when the file is loaded: these are counted.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError, one_of
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, warn_if_products_saturate
from quantbento.quantizers.onnx import qdq
from quantbento.quantizers.onnx.base import Graph, NodeOptions, OnnxQuantizer
from quantbento.quantizers.onnx.candidates import find
from quantbento.quantizers.onnx.loading import node_times
from quantbento.quantizers.onnx.prepare import in_float32
from quantbento.quantizers.onnx.qdq import StaticQuantization
from quantbento.quantizers.sensitivity import harmful
from quantbento.runtimes.onnx import MODEL

OPS = ("Conv", "MatMul")
METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}  # as ONNX Runtime calls them


class OnnxStaticOptions(NodeOptions):
    calibration_method: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="what the range of an activation is: all that was seen, or without outliers"
    )
    percentile: float = Field(99.99, gt=50, le=100, description="for calibration_method: percentile")
    activation_type: Literal["uint8", "int8"] = Field("uint8", description="uint8 is the fast one on x86")
    symmetric_activations: bool = Field(False, description="true: no zero points")
    weight_type: Literal["int8", "uint8"] = "int8"
    per_channel: bool = Field(True, description="one scale per output channel of the weights")
    reduce_range: bool = Field(False, description="7-bit weights, for x86 CPUs without VNNI, which saturate")
    min_sqnr_db: float | None = Field(
        None, gt=0, description="the most harmful nodes stay in full precision until the outputs have this SQNR"
    )

    @model_validator(mode="after")
    def _possible(self) -> OnnxStaticOptions:
        if unknown := [op for op in self.include_ops or () if op not in (*OPS, "Gemm")]:
            raise ValueError(f"{', '.join(unknown)} cannot be quantized; these can: {one_of((*OPS, 'Gemm'))}")
        if "percentile" in self.model_fields_set and self.calibration_method != "percentile":
            raise ValueError("percentile goes with calibration_method: percentile")
        return self


class OnnxStatic(OnnxQuantizer):
    name = "onnx-static"
    scheme = "int8-static"
    data = "calibration"
    usual_for = ("convolution",)
    runs_on = ("cpu",)
    Options = OnnxStaticOptions

    def layers(self, job: Job, options: OnnxStaticOptions) -> dict[str, int]:
        with tempfile.TemporaryDirectory(dir=job.workspace) as space:
            graph, _ = _fused(job, Path(space))
            return graph.layers(self.name, options.chosen_ops(OPS), options)

    def quantize(self, job: Job, options: OnnxStaticOptions, folder: Path) -> Quantized:
        warn_if_products_saturate(options.reduce_range)
        workspace = Path(tempfile.mkdtemp(dir=job.workspace))
        graph, path = _fused(job, workspace)
        nodes, found = graph.choose(self.name, options.chosen_ops(OPS), options)
        quantization = StaticQuantization(path, OPS, job.calibration, _settings(options, graph.large))
        left = list[str]()
        if options.min_sqnr_db is not None:
            with job.progress.stage(f"{self.name}: what quantizing each of {len(nodes)} nodes does") as advance:
                tried = Path(tempfile.mkdtemp(dir=workspace))
                quality = partial(quantization.quality, task=job.task, folder=tried)
                times = node_times(path, job.calibration[0])
                left = harmful(quality, nodes, options.min_sqnr_db, advance, times)
        nodes = [name for name in nodes if name not in left]
        quantization.write(nodes, folder / MODEL)
        counts, quantized = qdq.count(folder / MODEL, graph.initializers, workspace / "loaded.onnx")
        if not counts:
            raise QuantbentoError(f"onnx-static quantized none of the {len(nodes)} nodes that were chosen")
        return Quantized({}, counts, quantized, graph.parameters, left_out=left, notes=[*graph.notes, *found.notes])


def _fused(job: Job, folder: Path) -> tuple[Graph, Path]:
    """The graph as it is quantized, and its file in a folder."""
    graph = Graph.of(job)
    in_float32(graph.model.graph, find(graph.model.graph, OPS).names)
    return graph, graph.fuse(folder)


def _settings(options: OnnxStaticOptions, large: bool) -> dict[str, Any]:
    """The options as ONNX Runtime calls them."""
    from onnxruntime.quantization import CalibrationMethod, QuantType

    types = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
    return {
        "per_channel": options.per_channel,
        "reduce_range": options.reduce_range,
        "activation_type": types[options.activation_type],
        "weight_type": types[options.weight_type],
        "use_external_data_format": large,
        "calibrate_method": CalibrationMethod[METHODS[options.calibration_method]],
        "extra_options": {
            "ActivationSymmetric": options.symmetric_activations,
            "CalibPercentile": options.percentile,
            "MatMulConstBOnly": True,
        },
    }
