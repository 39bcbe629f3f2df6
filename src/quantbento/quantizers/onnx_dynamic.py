"""INT8 weights and, at run time, 8-bit activations for an ONNX graph, by ONNX Runtime.

The graph is the user's own or exported here (dynamo, opset 20, dynamic batch and sequence). Quantized are matrix
products, embedding look-ups and recurrent layers; convolutions only when asked for (`include_ops`), because
ConvInteger is slower than a float convolution on most CPUs. After quantization the nodes are counted:
ONNX Runtime can pass over every node without a word (microsoft/onnxruntime#24459).
"""

from __future__ import annotations

import logging
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from quantbento.errors import QuantbentoError
from quantbento.onnx_export import LARGEST_IN_ONE_FILE, fp32_onnx
from quantbento.quantizers.base import Job, Quantized, Quantizer, QuantizerOptions, select
from quantbento.runtimes.onnx import MODEL

DEFAULT_OPS = ["MatMul", "Gather", "Attention", "LSTM", "EmbedLayerNormalization"]
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


class OnnxDynamicOptions(QuantizerOptions):
    per_channel: bool = True
    weight_type: Literal["int8", "uint8"] = "int8"
    reduce_range: bool = Field(False, description="7-bit weights, for x86 CPUs without VNNI, which saturate")
    include_ops: list[str] = Field(DEFAULT_OPS, description="operator types")
    exclude_ops: list[str] = []
    include_nodes: list[str] = Field(["*"], description="fnmatch patterns of node names")
    exclude_nodes: list[str] = []


class OnnxDynamic(Quantizer):
    name = "onnx-dynamic"
    scheme = "int8-dynamic"
    runtime = "onnx"
    requires = ("onnx", "onnxruntime", "onnxscript")
    takes_onnx = True
    Options = OnnxDynamicOptions

    def quantize(self, job: Job, options: OnnxDynamicOptions, folder: Path) -> Quantized:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        exported = fp32_onnx(job)
        model = _prepared(onnx.load(exported))
        before = onnx.load(exported, load_external_data=False).graph
        ops = [op for op in options.include_ops if op not in options.exclude_ops]
        candidates = [n.name for n in model.graph.node if n.op_type in ops]
        if not candidates:
            raise QuantbentoError(
                f"onnx-dynamic would quantize nothing: the graph has no {', '.join(ops)} "
                f"(it has {', '.join(sorted({n.op_type for n in model.graph.node}))})"
            )
        nodes = select(candidates, options.include_nodes, options.exclude_nodes, "node")
        if not nodes:  # ONNX Runtime takes an empty list for all of them
            raise QuantbentoError(
                f"onnx-dynamic would quantize nothing: the patterns leave none of the {len(candidates)} nodes"
            )
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it logs advice on preprocessing that does not apply to dynamic quantization
        try:
            quantize_dynamic(
                model,
                str(folder / MODEL),
                op_types_to_quantize=ops,
                nodes_to_quantize=nodes,
                per_channel=options.per_channel,
                reduce_range=options.reduce_range,
                weight_type=QuantType.QInt8 if options.weight_type == "int8" else QuantType.QUInt8,
                use_external_data_format=exported.stat().st_size > LARGEST_IN_ONE_FILE,
                extra_options={"MatMulConstBOnly": True},
            )
        except Exception as error:
            raise QuantbentoError(f"ONNX Runtime could not quantize the graph: {error}") from error
        finally:
            root.setLevel(level)
        return _count(before, onnx.load(folder / MODEL, load_external_data=False).graph)


def _prepared(model: Any) -> Any:
    """The graph in the form the quantizer expects: Gemm as MatMul and Add (it knows no other, and would pass over
    Gemm in silence), every node with a name of its own, and no stale shapes of transposed weights."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    _transpose_gemm_weights(model.graph)
    wrapped = ONNXModel(model)
    wrapped.replace_gemm_with_matmul()
    model = wrapped.model
    del model.graph.value_info[:]
    names: Counter[str] = Counter()
    for node in model.graph.node:
        base = node.name or node.op_type
        names[base] += 1
        node.name = base if names[base] == 1 and node.name else f"{base}_{names[base]}"
    return model


def _transpose_gemm_weights(graph: Any) -> None:
    """`replace_gemm_with_matmul` transposes a weight in place, once for each Gemm that uses it: so do it here."""
    from onnx import numpy_helper

    weights = {i.name: i for i in graph.initializer}
    for node in graph.node:
        transposed = next((a for a in node.attribute if a.name == "transB" and a.i), None)
        if node.op_type == "Gemm" and transposed and node.input[1] in weights:
            old, new = node.input[1], f"{node.input[1]}_transposed"
            if new not in weights:
                weights[new] = numpy_helper.from_array(numpy_helper.to_array(weights[old]).T.copy(), new)
                graph.initializer.append(weights[new])
            node.input[1], transposed.i = new, 0
            if not any(old in n.input for n in graph.node):
                graph.initializer.remove(weights[old])


def _count(before: Any, after: Any) -> Quantized:
    import onnx

    counts = Counter(n.op_type for n in after.node if n.op_type in INTEGER_OPS)
    small = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    quantized = {i.name: prod(i.dims) for i in after.initializer if i.data_type in small and "zero_point" not in i.name}
    lookups = sum(n.op_type == "Gather" and n.input[0] in quantized for n in after.node)
    if lookups:
        counts["Gather"] = lookups
    if not counts:
        raise QuantbentoError("onnx-dynamic quantized nothing: the graph has no integer operator afterwards")
    return Quantized({}, dict(counts), sum(quantized.values()), sum(prod(i.dims) for i in before.initializer))
