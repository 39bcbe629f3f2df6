"""INT8 or INT4 weights for an ONNX graph, in blocks with a scale each; activations stay floats in the file.

ONNX Runtime's MatMulNBits multiplies them. With `accuracy_level: 4` it turns activations into INT8 itself, with one
scale per block, which is faster; with 1 it computes in float32.
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
from quantbento.quantizers.base import Quantized, select
from quantbento.quantizers.onnx import per_token
from quantbento.quantizers.onnx.base import Graph, NodeOptions, OnnxQuantizer
from quantbento.quantizers.onnx.prepare import in_float32

if TYPE_CHECKING:
    import onnx

OPS = ("MatMul", "Gather")
BLOCK_SIZES = (16, 32, 64, 128, 256)
ALLOWED = ", ".join(map(str, BLOCK_SIZES))


class OnnxWeightsOptions(NodeOptions):
    bits: Literal[8, 4] = 8
    block_size: int = Field(32, description=f"weights of a column that share a scale: {ALLOWED}")
    symmetric: bool = Field(False, description="false: blocks have a zero point")
    accuracy_level: Literal[1, 4] = Field(4, description="what is multiplied: 4: INT8, 1: float32")
    eight_bit_nodes: list[str] = Field([], description="fnmatch patterns of nodes in 8 bits, beside others in 4")

    @model_validator(mode="after")
    def _possible(self) -> OnnxWeightsOptions:
        if self.block_size not in BLOCK_SIZES:
            raise ValueError(f"block_size {self.block_size} is not possible; allowed: {ALLOWED}")
        if unknown := [op for op in self.include_ops or () if op not in (*OPS, "Gemm")]:
            raise ValueError(f"{', '.join(unknown)} cannot be quantized; these can: {', '.join((*OPS, 'Gemm'))}")
        if self.eight_bit_nodes and self.bits == 8:
            raise ValueError("eight_bit_nodes goes with bits: 4")
        return self


class OnnxWeights(OnnxQuantizer):
    name = "onnx-weights"
    scheme = "W8A8"
    usual_for = ()  # slower than onnx-dynamic
    raises = "eight_bit_nodes"
    Options = OnnxWeightsOptions

    def scheme_of(self, options: OnnxWeightsOptions) -> str:
        return f"W{options.bits}A{8 if options.accuracy_level == 4 else 32}"

    def weight_bits(self, options: OnnxWeightsOptions) -> dict[int, float]:
        """A block has a scale of 32 bits, and a zero point as wide as a weight."""
        widths = (8,) if options.bits == 8 else (4, 8)
        return {bits: bits + (32 + bits * (not options.symmetric)) / options.block_size for bits in widths}

    def layers(self, job: Job, options: OnnxWeightsOptions) -> dict[str, int]:
        return Graph.of(job).layers(self.name, options.chosen_ops(OPS), options)

    def quantize(self, job: Job, options: OnnxWeightsOptions, folder: Path) -> Quantized:
        graph = Graph.of(job)
        ops = options.chosen_ops(OPS)
        nodes, found = graph.choose(self.name, ops, options)
        in_float32(graph.model.graph, nodes)
        raised = [node for node in select(found.names, options.eight_bit_nodes, [], "node") if node in nodes]
        others = [node for node in nodes if node not in raised]
        if others:
            _in_blocks(graph, others, ops, options)
        if raised:
            _in_blocks(graph, raised, ops, options.model_copy(update={"bits": 8}))
        graph.save(folder)
        counts, quantized = _count(graph.model.graph, graph.initializers)
        if not counts:
            raise QuantbentoError(f"onnx-weights quantized none of the {len(nodes)} nodes that were chosen")
        return Quantized({}, counts, quantized, graph.parameters, notes=[*graph.notes, *found.notes])


def _in_blocks(graph: Graph, nodes: list[str], ops: list[str], options: OnnxWeightsOptions) -> None:
    if options.bits == 8:  # ONNX Runtime's quantizer knows tables in 4 bits only
        tables = [n.name for n in graph.model.graph.node if n.op_type == "Gather" and n.name in nodes]
        per_token.quantize(graph.model, tables, per_channel=True, reduce_range=False)
        ops = [op for op in ops if op != "Gather"]
    _quantize(graph, nodes, ops, options)


def _quantize(graph: Graph, nodes: list[str], ops: list[str], options: OnnxWeightsOptions) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(
        block_size=options.block_size,
        is_symmetric=options.symmetric,
        accuracy_level=options.accuracy_level,
        bits=options.bits,
        op_types_to_quantize=tuple(ops),
        quant_axes=(("MatMul", 0), ("Gather", 1)),
    )
    # `nodes_to_include` adds nodes to those of `op_types_to_quantize`; it leaves none out.
    others = [node.name for node in graph.model.graph.node if node.name not in nodes]
    try:
        with quiet():
            quantizer = MatMulNBitsQuantizer(graph.model, nodes_to_exclude=others, algo_config=config)
            quantizer.process()
    except Exception as error:  # its errors share no base class
        raise QuantbentoError(f"ONNX Runtime could not quantize the graph: {summary(error)}") from error
    graph.model = quantizer.model.model


def _count(graph: onnx.GraphProto, before: set[str]) -> tuple[dict[str, int], int]:
    """The quantized nodes by type, and the number of quantized weights. `before` are the names of the initializers that
    there were."""
    from onnx import TensorProto

    integers = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4)
    new = {i.name: prod(i.dims) for i in graph.initializer if i.data_type in integers and i.name not in before}
    counts, weights = Counter[str](), dict[str, int]()
    for node in graph.node:
        attributes = {a.name: a.i for a in node.attribute}
        if node.op_type == "MatMulNBits":
            counts[node.op_type] += 1
            weights[node.input[1]] = attributes["K"] * attributes["N"]
        elif node.op_type in ("Gather", "GatherBlockQuantized") and node.input[0] in new:
            counts["Gather"] += 1
            weights[node.input[0]] = new[node.input[0]]
    return dict(counts), sum(weights.values())
