"""INT8 or INT4 weights for OpenVINO, without calibration samples; activations stay floats in the file.

Where OpenVINO multiplies them with integer weights, it may turn them into INT8 itself, with one scale for each group of
numbers: `activation_group_size`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions
from quantbento.quantizers.openvino import graph
from quantbento.quantizers.openvino.nncf import DISTRIBUTIONS, MODULES, left_out, quiet_nncf
from quantbento.runtimes.openvino import MODEL, engine, read_onnx, save


class OpenVinoWeightsOptions(QuantizerOptions):
    bits: Literal[8, 4] = 8
    symmetric: bool = Field(False, description="false: weights have zero points")
    group_size: int | None = Field(
        None, gt=0, description="weights that share a scale, for 4 bits; by default the library's"
    )
    ratio: float | None = Field(
        None, gt=0, le=1, description="share of the weights in 4 bits, the others in 8; by default all"
    )
    activation_group_size: int = Field(
        32, ge=0, description="activations that share a scale when they are multiplied in INT8; 0: they stay floats"
    )
    exclude_nodes: list[str] = Field([], description="fnmatch patterns of operators' names")
    exclude_ops: list[str] = Field([], description="fnmatch patterns of operators' types, as OpenVINO calls them")

    @model_validator(mode="after")
    def _possible(self) -> OpenVinoWeightsOptions:
        if self.bits == 8 and (given := [k for k in ("group_size", "ratio") if getattr(self, k) is not None]):
            raise ValueError(f"{', '.join(given)}: for bits: 4 only")
        return self


class OpenVinoWeights(Quantizer):
    name = "openvino-weights"
    scheme = "W8A32"
    runtimes = ("openvino",)
    starts_from = ("module", "onnx")
    modules = MODULES
    distributions = DISTRIBUTIONS
    extra = "quantize"
    Options = OpenVinoWeightsOptions

    def scheme_of(self, options: OpenVinoWeightsOptions) -> str:
        return f"W{options.bits}A{8 if options.activation_group_size else 32}"

    def quantize(self, job: Job, options: OpenVinoWeightsOptions, folder: Path) -> Quantized:
        source = read_onnx(job.onnx())
        parameters = graph.parameters(source)
        with quiet_nncf() as nncf:
            mode = f"INT{options.bits}_{'SYM' if options.symmetric else 'ASYM'}"
            advanced = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
            compressed = nncf.compress_weights(
                source,
                mode=nncf.CompressWeightsMode[mode],
                group_size=options.group_size,
                ratio=options.ratio,
                ignored_scope=left_out(nncf, source, options.exclude_nodes, options.exclude_ops),
                advanced_parameters=advanced,
            )
        save(compressed, folder)
        counts, quantized = graph.quantized(engine().Core().read_model(folder / MODEL))
        if not counts:
            raise QuantbentoError("nothing")
        properties = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": options.activation_group_size}
        return Quantized({"properties": properties}, counts, quantized, parameters)
