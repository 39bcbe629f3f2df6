"""INT8 weights and activations for OpenVINO: NNCF measures the activations' ranges on calibration samples, once.

Activations have one scale a tensor, so that a channel with large values costs all others their precision. Transformers
have such channels. SmoothQuant (Xiao et al. 2022, https://arxiv.org/abs/2211.10438) moves a share of them into the
weights, which have one scale a channel: with x (rows, channels), w (channels, n) and s_j = max|x_j|^alpha /
max|w_j|^(1 - alpha), x w = (x / s) (s w).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import saturates
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions
from quantbento.quantizers.openvino import graph
from quantbento.quantizers.openvino.nncf import DISTRIBUTIONS, MODULES, left_out, quiet_nncf
from quantbento.runtimes.openvino import MODEL, engine, read_onnx, save

if TYPE_CHECKING:
    import openvino as ov

logger = logging.getLogger("quantbento")


class OpenVinoOptions(QuantizerOptions):
    model_type: Literal["transformer", "other"] | None = Field(
        None, description="transformer, where the graph has attention; by default it is looked for"
    )
    smooth_quant_alpha: float | None = Field(
        0.75,
        ge=0,
        le=1,
        description="share of the activations' outliers that weights take; null: none. For transformers",
    )
    preset: Literal["mixed", "performance"] | None = Field(
        None, description="mixed: activations have a zero point; performance: none. By default, mixed for transformers"
    )
    fast_bias_correction: bool = Field(True, description="false: slower, layer after layer")
    reduce_range: bool = Field(False, description="7-bit weights, for x86 CPUs without VNNI, which saturate")
    exclude_nodes: list[str] = Field([], description="fnmatch patterns of operators' names")
    exclude_ops: list[str] = Field([], description="fnmatch patterns of operators' types, as OpenVINO calls them")

    @model_validator(mode="after")
    def _possible(self) -> OpenVinoOptions:
        if self.model_type == "other" and self.smooth_quant_alpha and "smooth_quant_alpha" in self.model_fields_set:
            raise ValueError("smooth_quant_alpha goes with model_type: transformer")
        return self


class OpenVino(Quantizer):
    name = "openvino"
    scheme = "int8-static"
    runtimes = ("openvino",)
    starts_from = ("module", "onnx")
    data = "calibration"
    modules = MODULES
    distributions = DISTRIBUTIONS
    extra = "quantize"
    Options = OpenVinoOptions

    def quantize(self, job: Job, options: OpenVinoOptions, folder: Path) -> Quantized:
        if not options.reduce_range and saturates():
            logger.warning("this CPU has no VNNI: 8-bit products saturate; set reduce_range: true")
        source = read_onnx(job.onnx())
        parameters = graph.parameters(source)
        transformer = options.model_type == "transformer" or (
            options.model_type is None and graph.has_attention(source)
        )
        save(_quantize(source, job.calibration, options, transformer), folder)
        counts, quantized = graph.quantized(engine().Core().read_model(folder / MODEL))
        if not counts:
            raise QuantbentoError(
                f"openvino quantized nothing: the graph has {', '.join(sorted(set(graph.operators(source).values())))}"
            )
        notes = []
        if not transformer and "smooth_quant_alpha" in options.model_fields_set and options.smooth_quant_alpha:
            notes.append("smooth_quant_alpha had no effect: the graph has no attention; see model_type")
        return Quantized({}, counts, quantized, parameters, notes=notes)


def _quantize(source: ov.Model, batches: list[Any], options: OpenVinoOptions, transformer: bool) -> ov.Model:
    with quiet_nncf() as nncf:
        alpha = -1.0 if options.smooth_quant_alpha is None else options.smooth_quant_alpha  # NNCF: -1 is off
        advanced = nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha),
            overflow_fix=nncf.OverflowFix.ENABLE if options.reduce_range else nncf.OverflowFix.DISABLE,
        )
        return nncf.quantize(
            source,
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            preset=nncf.QuantizationPreset(options.preset) if options.preset else None,
            fast_bias_correction=options.fast_bias_correction,
            ignored_scope=left_out(nncf, source, options.exclude_nodes, options.exclude_ops),
            advanced_parameters=advanced,
        )
