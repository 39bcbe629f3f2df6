"""INT8 weights and, at run time, 8-bit activations for an ONNX graph.

The graph is the user's own in canonical form (`quantbento.inputs.onnx_graph`), or exported here (dynamo, opset 20,
dynamic batch and sequence). By default activations have one scale per token (`per_token.py`), and where the recipe has
calibration samples they are smoothed first (`smoothing.py`); `activations: per_tensor` is ONNX Runtime's own dynamic
quantization, which supports more operators. Convolutions are quantized only when asked for: ConvInteger is slower than
a float convolution on most CPUs. The quantized nodes are counted in the result, because ONNX Runtime can silently skip
every node (microsoft/onnxruntime#24459).
"""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs.job import Job
from quantbento.inputs.onnx_export import quiet
from quantbento.quantizers.base import Quantized, warn_if_products_saturate
from quantbento.quantizers.onnx import per_token
from quantbento.quantizers.onnx.activations import measured, zero_point
from quantbento.quantizers.onnx.base import Graph, NodeOptions, OnnxQuantizer
from quantbento.quantizers.onnx.candidates import not_asked_for
from quantbento.quantizers.onnx.prepare import in_float32
from quantbento.quantizers.onnx.smoothing import smooth
from quantbento.runtimes.onnx import MODEL
from quantbento.tasks.base import Arrays

if TYPE_CHECKING:
    import onnx

FOR_ZERO_POINTS = 4  # batches: on MiniLM, 4 of 25 move no point by more than 1 of 255
PER_TENSOR_OPS = ("MatMul", "Gather", "Attention", "LSTM", "EmbedLayerNormalization")
# What a quantized node looks like afterwards.
INTEGER_OPS = (
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "ConvInteger",
    "QAttention",
    "QEmbedLayerNormalization",
    "DynamicQuantizeLSTM",
)


class OnnxDynamicOptions(NodeOptions):
    activations: Literal["per_token", "per_tensor"] = "per_token"
    per_channel: bool = Field(True, description="one scale per column of the weights")
    weight_type: Literal["int8", "uint8"] = "int8"
    reduce_range: bool = Field(False, description="7-bit weights, for x86 CPUs without VNNI, which saturate")
    smooth_quant_alpha: float | None = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the activations' outliers that weights take; null: none",
    )

    @model_validator(mode="after")
    def _possible(self) -> OnnxDynamicOptions:
        able = (*PER_TENSOR_OPS, "Conv", "Gemm")
        if unknown := [op for op in self.include_ops or () if op not in able]:
            raise ValueError(f"{', '.join(unknown)} cannot be quantized; these can: {', '.join(able)}")
        if self.activations == "per_token":
            if more := [op for op in self.include_ops or () if op not in (*per_token.OPS, "Gemm")]:
                raise ValueError(
                    f"{', '.join(more)} cannot have one scale per token ({', '.join(per_token.OPS)} can); "
                    "set activations: per_tensor"
                )
            if self.weight_type == "uint8":
                raise ValueError("weight_type uint8 goes with activations: per_tensor")
        return self

    @property
    def ops(self) -> list[str]:
        """Operator types to quantize; by default all but convolutions."""
        return self.chosen_ops(per_token.OPS if self.activations == "per_token" else PER_TENSOR_OPS)


class OnnxDynamic(OnnxQuantizer):
    name = "onnx-dynamic"
    scheme = "int8-dynamic"
    optional_data = "calibration"
    usual_for = ("linear",)
    runs_on = ("cpu",)
    Options = OnnxDynamicOptions

    def layers(self, job: Job, options: OnnxDynamicOptions) -> dict[str, int]:
        graph = Graph.of(job)
        options, _ = _possible(graph.model, options)
        return graph.layers(self.name, options.ops, options)

    def quantize(self, job: Job, options: OnnxDynamicOptions, folder: Path) -> Quantized:
        import onnx

        warn_if_products_saturate(options.reduce_range)
        graph = Graph.of(job)
        options, notes = _possible(graph.model, options)
        nodes, found = graph.choose(self.name, options.ops, options)
        in_float32(graph.model.graph, nodes)
        if options.activations == "per_token":
            points = _calibrate(graph.model, nodes, options.smooth_quant_alpha, job.calibration)
            per_token.quantize(graph.model, nodes, options.per_channel, options.reduce_range, points)
            graph.save(folder)
        else:
            _quantize_per_tensor(graph, nodes, options, folder / MODEL)
        counts, quantized = _count(onnx.load(folder / MODEL, load_external_data=False).graph, graph.initializers)
        notes = [*graph.notes, *notes, *found.notes]
        if options.include_ops is None:
            notes += not_asked_for(graph.model.graph, [*options.ops, *options.exclude_ops])
        return Quantized({}, counts, quantized, graph.parameters, notes=notes)


def _calibrate(
    model: onnx.ModelProto, nodes: list[str], alpha: float | None, batches: list[Arrays] | None
) -> dict[str, int]:
    """Smooths the inputs of the products, and returns what stands for 0 in each; nothing without samples. The largest
    magnitudes are those of all batches. What stands for 0 is a mean over rows, and a few batches have enough of them.
    """
    chosen = set(nodes)
    products = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.name in chosen]
    if not batches or not products:
        return {}
    if alpha is not None:
        smooth(model, products, alpha, batches)
    some = batches[:: -(-len(batches) // FOR_ZERO_POINTS)]
    return {name: zero_point(seen) for name, seen in measured(model, products, some).items()}


def _possible(model: onnx.ModelProto, options: OnnxDynamicOptions) -> tuple[OnnxDynamicOptions, list[str]]:
    """The options, with one activation scale for the whole batch where the opset allows no other, and a note of it."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if options.activations == "per_tensor" or opset >= per_token.OLDEST_OPSET:
        return options, []
    note = (
        f"activations have one scale for the whole batch (per_tensor): one per token needs opset "
        f"{per_token.OLDEST_OPSET}, and the graph's {opset} could not be raised. An answer depends on its neighbours"
    )
    return options.model_copy(update={"activations": "per_tensor"}), [note]


def _quantize_per_tensor(graph: Graph, nodes: list[str], options: OnnxDynamicOptions, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    try:
        with quiet():
            quantize_dynamic(
                graph.model,
                str(path),
                op_types_to_quantize=options.ops,
                nodes_to_quantize=nodes,
                per_channel=options.per_channel,
                reduce_range=options.reduce_range,
                weight_type=QuantType.QInt8 if options.weight_type == "int8" else QuantType.QUInt8,
                use_external_data_format=graph.large,
                extra_options={"MatMulConstBOnly": True},
            )
    except Exception as error:
        raise QuantbentoError(f"ONNX Runtime could not quantize the graph: {summary(error)}") from error


def _count(after: onnx.GraphProto, before: set[str]) -> tuple[dict[str, int], int]:
    """The integer operators by type, and the number of quantized weights. `before` are the names of the initializers
    that there were: tables of bytes are none of ours."""
    from onnx import TensorProto

    counts = Counter(n.op_type for n in after.node if n.op_type in INTEGER_OPS)
    new = [
        i for i in after.initializer if i.data_type in (TensorProto.INT8, TensorProto.UINT8) and i.name not in before
    ]
    quantized = {i.name: prod(i.dims) for i in new if "zero_point" not in i.name}
    lookups = sum(n.op_type == "Gather" and n.input[0] in quantized for n in after.node)
    if lookups:
        counts["Gather"] = lookups
    if not counts:
        raise QuantbentoError("onnx-dynamic quantized nothing: the graph has no integer operator afterwards")
    return dict(counts), sum(quantized.values())
