"""INT8 weights and activations for OpenVINO: NNCF measures the activations' ranges on calibration samples, once.

Activations have one scale a tensor, so that a channel with large values costs all others their precision. Transformers
have such channels. SmoothQuant (Xiao et al. 2022, https://arxiv.org/abs/2211.10438) moves a share of them into the
weights, which have one scale a channel: with x (rows, channels), w (channels, n) and s_j = max|x_j|^alpha /
max|w_j|^(1 - alpha), x w = (x / s) (s w).

`min_sqnr_db` leaves the most harmful operators in full precision: every one is tried alone, and as many are quantized,
the least harmful first, as the outputs allow. Sums are among them, because NNCF rounds what they read. Its own
`quantize_with_accuracy_control` (nncf 3.4) takes operators back one by one, which helps little until the last one, and
restores weights of before SmoothQuant beside inputs that are divided by s.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import default_threads
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, warn_if_products_saturate
from quantbento.quantizers.openvino import graph
from quantbento.quantizers.openvino.base import OpenVinoQuantizer, OperatorOptions, Source, counts
from quantbento.quantizers.openvino.nncf import quiet_nncf
from quantbento.quantizers.sensitivity import answers, harmful
from quantbento.runtimes.openvino import OpenVinoRuntime, save
from quantbento.tasks.base import Arrays
from quantbento.tasks.metrics import sqnr_db

if TYPE_CHECKING:
    import openvino as ov

TO_RANK = 4  # batches of calibration samples that show which operators are harmful


class OpenVinoOptions(OperatorOptions):
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
    min_sqnr_db: float | None = Field(
        None, gt=0, description="the most harmful operators stay in full precision until the outputs have this SQNR"
    )

    @model_validator(mode="after")
    def _possible(self) -> OpenVinoOptions:
        if self.model_type == "other" and self.smooth_quant_alpha and "smooth_quant_alpha" in self.model_fields_set:
            raise ValueError("smooth_quant_alpha goes with model_type: transformer")
        return self


class OpenVino(OpenVinoQuantizer):
    name = "openvino"
    scheme = "int8-static"
    data = "calibration"
    Options = OpenVinoOptions

    def layers(self, job: Job, options: OpenVinoOptions) -> dict[str, int]:
        """Sums are among them, because NNCF rounds what they read."""
        source = Source.of(job)
        few = StaticQuantization(source.model, job.calibration[:1], options, _is_transformer(source, options))
        whole = few.without(source.left(options))
        with tempfile.TemporaryDirectory(dir=job.workspace) as space:
            found = source.write(self.name, whole, [], Path(space))
        return source.layers(found, graph.rounded(whole))

    def quantize(self, job: Job, options: OpenVinoOptions, folder: Path) -> Quantized:
        warn_if_products_saturate(options.reduce_range)
        source = Source.of(job)
        transformer = _is_transformer(source, options)
        quantization = StaticQuantization(source.model, job.calibration, options, transformer)
        some = StaticQuantization(source.model, job.calibration[:TO_RANK], options, transformer)
        chosen = source.left(options)
        whole = quantization.without(chosen)
        found = source.write(self.name, whole, chosen, folder)
        harm = list[str]()
        if options.min_sqnr_db is not None:
            rounded = [operator.name for operator in found] + graph.rounded(whole)
            nodes = [name for name in dict.fromkeys(rounded) if name in source.operators]
            space = Path(tempfile.mkdtemp(dir=job.workspace))

            def quality(tried: list[str]) -> float:
                if not (left := [node for node in nodes if node not in tried]):
                    return quantization.quality(whole, job.task, space)
                used = some if len(tried) == 1 else quantization
                return used.quality(used.without([*chosen, *left]), job.task, space)

            with job.progress.stage(f"{self.name}: what quantizing each of {len(nodes)} operators does") as advance:
                harm = harmful(quality, nodes, options.min_sqnr_db, advance)
            if {operator.name for operator in found} <= set(harm):
                raise QuantbentoError(
                    f"min_sqnr_db {options.min_sqnr_db:g} leaves nothing quantized; take less, or openvino-weights"
                )
        if harm:
            found = source.write(self.name, quantization.without([*chosen, *harm]), chosen, folder)
        notes = []
        if not transformer and "smooth_quant_alpha" in options.model_fields_set and options.smooth_quant_alpha:
            notes.append("smooth_quant_alpha had no effect: the graph has no attention; see model_type")
        return Quantized({}, counts(found), graph.weights(found), source.parameters, left_out=harm, notes=notes)


def _is_transformer(source: Source, options: OpenVinoOptions) -> bool:
    has_attention = options.model_type is None and graph.has_attention(source.model)
    return options.model_type == "transformer" or has_attention


class StaticQuantization:
    """Quantizes one graph, which does not change."""

    def __init__(self, source: ov.Model, batches: list[Arrays], options: OpenVinoOptions, transformer: bool) -> None:
        self.source, self.batches, self.options, self.transformer = source, batches, options, transformer
        self._expected: np.ndarray | None = None

    def without(self, left: list[str]) -> ov.Model:
        """The graph quantized, but for these operators."""
        options = self.options
        with quiet_nncf() as nncf:
            alpha = -1.0 if options.smooth_quant_alpha is None else options.smooth_quant_alpha  # NNCF: -1 is off
            advanced = nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha),
                overflow_fix=nncf.OverflowFix.ENABLE if options.reduce_range else nncf.OverflowFix.DISABLE,
            )
            return nncf.quantize(
                self.source,
                nncf.Dataset(self.batches),
                subset_size=len(self.batches),
                model_type=nncf.ModelType.TRANSFORMER if self.transformer else None,
                preset=nncf.QuantizationPreset(options.preset) if options.preset else None,
                fast_bias_correction=options.fast_bias_correction,
                ignored_scope=nncf.IgnoredScope(names=left),
                advanced_parameters=advanced,
            )

    def quality(self, quantized: ov.Model, task: Any, space: Path) -> float:
        """The SQNR in dB of what the task makes of a quantized graph's outputs, on the calibration samples. `space` is
        a folder to write to."""
        if self._expected is None:
            self._expected = self._rows(self.source, task, space)
        return sqnr_db(self._expected, self._rows(quantized, task, space))

    def _rows(self, model: ov.Model, task: Any, space: Path) -> np.ndarray:
        save(model, space)
        return answers(OpenVinoRuntime.load(space, {}, threads=default_threads()), task, self.batches)
