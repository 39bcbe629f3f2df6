"""INT8 or INT4 weights for OpenVINO, without calibration samples; activations stay floats in the file.

Where OpenVINO multiplies them with integer weights, it may turn them into INT8 itself, with one scale for each group of
numbers: `activation_group_size`.

Of 4 bits, NNCF leaves some weights in 8: those of embeddings, of convolutions and of the last product, and where the
group size does not divide a product's inputs. The report says how many.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, select
from quantbento.quantizers.onnx.candidates import listed
from quantbento.quantizers.openvino import graph
from quantbento.quantizers.openvino.base import OpenVinoQuantizer, OperatorOptions, Source, counts
from quantbento.quantizers.openvino.graph import QuantizedOperator
from quantbento.quantizers.openvino.nncf import quiet_nncf

if TYPE_CHECKING:
    import openvino as ov

LEAST_INPUTS = 256  # inputs of a small layer: others need fewer bits per weight
ALWAYS_8 = "those of embeddings, of convolutions and of the last product always are"


class OpenVinoWeightsOptions(OperatorOptions):
    bits: Literal[8, 4] = 8
    symmetric: bool = Field(False, description="false: weights have zero points")
    group_size: int | None = Field(
        None,
        gt=0,
        description="weights that share a scale, for 4 bits; by default 128, or the largest power of two from 32 on "
        "that divides a product's inputs",
    )
    ratio: float | None = Field(
        None, gt=0, le=1, description="share of the weights in 4 bits, of those that can be; by default all"
    )
    eight_bit_nodes: list[str] = Field([], description="fnmatch patterns of operators in 8 bits, beside others in 4")
    activation_group_size: int = Field(
        32, ge=0, description="activations that share a scale when they are multiplied in INT8; 0: they stay floats"
    )

    @model_validator(mode="after")
    def _possible(self) -> OpenVinoWeightsOptions:
        if self.bits == 8 and (given := [k for k in ("group_size", "ratio") if getattr(self, k) is not None]):
            raise ValueError(f"{' and '.join(given)} goes with bits: 4")
        if self.bits == 8 and self.eight_bit_nodes:
            raise ValueError("eight_bit_nodes goes with bits: 4")
        return self


class OpenVinoWeights(OpenVinoQuantizer):
    name = "openvino-weights"
    scheme = "W8A32"
    usual_for = ()  # slower than openvino
    raises = "eight_bit_nodes"
    Options = OpenVinoWeightsOptions

    def scheme_of(self, options: OpenVinoWeightsOptions) -> str:
        return f"W{options.bits}A{8 if options.activation_group_size else 32}"

    def weight_bits(self, options: OpenVinoWeightsOptions) -> dict[int, float]:
        """Scales have 16 bits, zero points are as wide as a weight. In 8 bits, there is one for each row."""
        zero_points = not options.symmetric
        found = {8: 8 + (16 + 8 * zero_points) / LEAST_INPUTS}
        return found if options.bits == 8 else {4: 4 + (16 + 4 * zero_points) / (options.group_size or 128)} | found

    def layers(self, job: Job, options: OpenVinoWeightsOptions) -> dict[str, int]:
        source = Source.of(job)
        with tempfile.TemporaryDirectory(dir=job.workspace) as space:
            compressed = _compressed(source, options, source.left(options))
            return source.layers(source.write(self.name, compressed, [], Path(space)))

    def quantize(self, job: Job, options: OpenVinoWeightsOptions, folder: Path) -> Quantized:
        source = Source.of(job)
        left = source.left(options)
        found = source.write(self.name, _compressed(source, options, left), left, folder)
        notes = _in_8_bits(found) if options.bits == 4 else []
        properties = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": options.activation_group_size}
        done = counts(found), graph.weights(found), source.parameters
        return Quantized({"properties": properties}, *done, notes=notes)


def _compressed(source: Source, options: OpenVinoWeightsOptions, left: list[str]) -> ov.Model:
    """In 4 bits first, then what was named for 8; NNCF does not touch weights that are integers already."""
    if not options.eight_bit_nodes:
        return _in_one_width(source.model, options, left)
    raised = select(source.operators, options.eight_bit_nodes, [], "operator")
    partly = _in_one_width(source.model, options, [*left, *raised])
    all_in_8 = options.model_copy(update={"bits": 8, "group_size": None, "ratio": None})
    return _in_one_width(partly, all_in_8, left)


def _in_one_width(source: ov.Model, options: OpenVinoWeightsOptions, left: list[str]) -> ov.Model:
    with quiet_nncf() as nncf:
        fallback = nncf.GroupSizeFallbackMode.ADJUST if options.group_size is None else nncf.GroupSizeFallbackMode.ERROR
        try:
            return nncf.compress_weights(
                source,
                mode=nncf.CompressWeightsMode[f"INT{options.bits}_{'SYM' if options.symmetric else 'ASYM'}"],
                group_size=options.group_size,
                ratio=options.ratio,
                ignored_scope=nncf.IgnoredScope(names=left),
                advanced_parameters=nncf.AdvancedCompressionParameters(group_size_fallback_mode=fallback),
            )
        except nncf.InvalidGroupSizeError as error:
            found = re.findall(r'"(.+)" \(channel size: (\d+)\)', str(error))
            each = ", ".join(f"{name} ({size})" for name, size in found[:3]) + ", ..." * (len(found) > 3)
            raise QuantbentoError(
                f"group_size {options.group_size} does not divide the inputs of {each}; take one that does, or name "
                "these in exclude_nodes"
            ) from error


def _in_8_bits(found: list[QuantizedOperator]) -> list[str]:
    """A note of what has 8 bits where 4 were asked for.

    Raises:
        QuantbentoError: all have.
    """
    eight = [operator for operator in found if operator.bits == 8]
    if len(eight) == len(found):
        raise QuantbentoError(
            f"no weight could be in 4 bits ({listed(counts(eight))} are in 8): {ALWAYS_8}, and of other products' "
            "inputs group_size must be a divisor; set group_size, or bits: 8"
        )
    return [f"in 8 bits: {listed(counts(eight))}; {ALWAYS_8}"] if eight else []
