"""INT8 weights and, at run time, 8-bit activations for an ONNX graph.

The graph is the user's own, or exported here (dynamo, opset 20, dynamic batch and sequence). By default activations
have one scale per token (`per_token.py`); `activations: per_tensor` is ONNX Runtime's own dynamic quantization,
which supports more operators. Convolutions are quantized only when asked for: ConvInteger is slower than a float
convolution on most CPUs. The quantized nodes are counted in the result, because ONNX Runtime can silently skip every
node (microsoft/onnxruntime#24459).
"""

from __future__ import annotations

import logging
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.machine import saturates
from quantbento.inputs.job import Job
from quantbento.inputs.onnx_export import LARGEST_IN_ONE_FILE, quiet
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions, select
from quantbento.quantizers.onnx import per_token
from quantbento.runtimes.onnx import MODEL, external_data

logger = logging.getLogger("quantbento")
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


class OnnxDynamicOptions(QuantizerOptions):
    activations: Literal["per_token", "per_tensor"] = "per_token"
    per_channel: bool = Field(True, description="one scale per column of the weights")
    weight_type: Literal["int8", "uint8"] = "int8"
    reduce_range: bool = Field(False, description="7-bit weights, for x86 CPUs without VNNI, which saturate")
    include_ops: list[str] | None = Field(None, description="operator types; by default all but convolutions")
    exclude_ops: list[str] = []
    include_nodes: list[str] = Field(["*"], description="fnmatch patterns of node names")
    exclude_nodes: list[str] = []

    @model_validator(mode="after")
    def _possible(self) -> OnnxDynamicOptions:
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
        """Operator types to quantize. Gemm counts as MatMul, because it is quantized as one."""
        default = per_token.OPS if self.activations == "per_token" else PER_TENSOR_OPS
        given = ["MatMul" if op == "Gemm" else op for op in self.include_ops or default]
        return [op for op in dict.fromkeys(given) if op not in self.exclude_ops]


class OnnxDynamic(Quantizer):
    name = "onnx-dynamic"
    scheme = "int8-dynamic"
    runtimes = ("onnx",)
    starts_from = ("module", "onnx")
    modules = ("onnx", "onnxruntime", "onnxscript")
    distributions = ("onnx", "onnxruntime", "onnxscript", "onnx-ir")
    extra = "quantize"
    Options = OnnxDynamicOptions

    def quantize(self, job: Job, options: OnnxDynamicOptions, folder: Path) -> Quantized:
        import onnx

        if not options.reduce_range and saturates():
            logger.warning("this CPU has no VNNI: 8-bit products saturate; set reduce_range: true")
        exported = job.onnx()
        model = onnx.load(exported)
        parameters = sum(prod(i.dims) for i in model.graph.initializer)
        model = _prepared(model)
        if options.activations == "per_token":
            _check_opset(model)
            candidates = per_token.quantizable(model, options.ops)
        else:
            candidates = [n.name for n in model.graph.node if n.op_type in options.ops]
        if not candidates:
            raise QuantbentoError(
                f"onnx-dynamic would quantize nothing: the graph has no {', '.join(options.ops)} with constant weights "
                f"(it has {', '.join(sorted({n.op_type for n in model.graph.node}))})"
            )
        nodes = select(candidates, options.include_nodes, options.exclude_nodes, "node")
        if not nodes:  # ONNX Runtime would read an empty list as all nodes
            raise QuantbentoError(
                f"onnx-dynamic would quantize nothing: the patterns leave none of the {len(candidates)} nodes"
            )
        large = sum(f.stat().st_size for f in (exported, *external_data(exported))) > LARGEST_IN_ONE_FILE
        if options.activations == "per_token":
            per_token.quantize(model, nodes, options.per_channel, options.reduce_range)
            onnx.save(model, folder / MODEL, save_as_external_data=large, location=f"{MODEL}.data")
        else:
            _quantize_per_tensor(model, nodes, options, folder / MODEL, large)
        return _count(parameters, onnx.load(folder / MODEL, load_external_data=False).graph)


def _quantize_per_tensor(model: Any, nodes: list[str], options: OnnxDynamicOptions, path: Path, large: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    try:
        with quiet():
            quantize_dynamic(
                model,
                str(path),
                op_types_to_quantize=options.ops,
                nodes_to_quantize=nodes,
                per_channel=options.per_channel,
                reduce_range=options.reduce_range,
                weight_type=QuantType.QInt8 if options.weight_type == "int8" else QuantType.QUInt8,
                use_external_data_format=large,
                extra_options={"MatMulConstBOnly": True},
            )
    except Exception as error:
        raise QuantbentoError(f"ONNX Runtime could not quantize the graph: {summary(error)}") from error


def _check_opset(model: Any) -> None:
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < per_token.OLDEST_OPSET:
        raise QuantbentoError(
            f"the graph has opset {opset}; one scale per token needs {per_token.OLDEST_OPSET} or newer. "
            "Set activations: per_tensor, or export the model anew"
        )


def _prepared(model: Any) -> Any:
    """The graph in the form the quantizer expects: Gemm as MatMul and Add (it would silently skip Gemm), a unique name
    for every node, and no stale shapes of transposed weights."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    _transpose_gemm_weights(model.graph)
    wrapped = ONNXModel(model)
    wrapped.replace_gemm_with_matmul()
    model = wrapped.model
    del model.graph.value_info[:]
    taken = {""}
    for node in model.graph.node:
        base, number = node.name or node.op_type, 1
        while node.name in taken:
            node.name, number = f"{base}_{number}", number + 1
        taken.add(node.name)
    return model


def _transpose_gemm_weights(graph: Any) -> None:
    """Transposes each weight once. `replace_gemm_with_matmul` would do it in place, once for each Gemm that uses it."""
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


def _count(parameters: int, after: Any) -> Quantized:
    import onnx

    counts = Counter(n.op_type for n in after.node if n.op_type in INTEGER_OPS)
    small = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    quantized = {i.name: prod(i.dims) for i in after.initializer if i.data_type in small and "zero_point" not in i.name}
    lookups = sum(n.op_type == "Gather" and n.input[0] in quantized for n in after.node)
    if lookups:
        counts["Gather"] = lookups
    if not counts:
        raise QuantbentoError("onnx-dynamic quantized nothing: the graph has no integer operator afterwards")
    return Quantized({}, dict(counts), sum(quantized.values()), parameters)
