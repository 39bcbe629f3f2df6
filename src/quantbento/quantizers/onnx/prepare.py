"""Puts an ONNX graph into the shape that quantization expects, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quantbento.runtimes.onnx import graphs

if TYPE_CHECKING:
    import onnx


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with Gemm as MatMul and Add (it would silently be skipped), a unique name for every node, and no stale
    shapes of transposed weights."""
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


def in_float32(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    """Lets the named MatMul and Gather nodes compute in float32 where their weights have another float type: the
    weights become float32, and what goes in and comes out is cast."""
    from onnx import TensorProto, helper, numpy_helper

    weights, chosen = {i.name: i for i in graph.initializer}, set(names)
    nodes, casts = [], {}
    for node in graph.node:
        place = 1 if node.op_type == "MatMul" else 0
        weight = (
            weights.get(node.input[place]) if node.name in chosen and node.op_type in ("MatMul", "Gather") else None
        )
        if weight is None or weight.data_type == TensorProto.FLOAT:
            nodes.append(node)
            continue
        wide = f"{weight.name}_float32"
        if wide not in weights:
            weights[wide] = numpy_helper.from_array(numpy_helper.to_array(weight).astype("float32"), wide)
            graph.initializer.append(weights[wide])
        result = node.output[0]
        node.input[place], node.output[0] = wide, f"{result}_float32"
        if node.op_type == "MatMul":
            activation = node.input[0]
            if activation not in casts:  # queries, keys and values share one
                casts[activation] = f"{activation}_as_float32"
                nodes.append(helper.make_node("Cast", [activation], [casts[activation]], casts[activation], to=1))
            node.input[0] = casts[activation]
        nodes.append(node)
        nodes.append(helper.make_node("Cast", [node.output[0]], [result], f"{result}_narrow", to=weight.data_type))
    del graph.node[:]
    graph.node.extend(nodes)
    remove_unread(graph)


def _transpose_gemm_weights(graph: onnx.GraphProto) -> None:
    """Transposes each weight once. `replace_gemm_with_matmul` would do it in place, once for each Gemm that uses it,
    in the branches of an If too."""
    from onnx import numpy_helper

    weights = {i.name: i for i in graph.initializer}
    for inner in graphs(graph):
        for node in inner.node:
            transposed = next((a for a in node.attribute if a.name == "transB" and a.i), None)
            if node.op_type == "Gemm" and transposed and node.input[1] in weights:
                old, new = node.input[1], f"{node.input[1]}_transposed"
                if new not in weights:
                    weights[new] = numpy_helper.from_array(numpy_helper.to_array(weights[old]).T.copy(), new)
                    graph.initializer.append(weights[new])
                node.input[1], transposed.i = new, 0
    remove_unread(graph)


def remove_unread(graph: onnx.GraphProto) -> None:
    """Removes the weights that no node reads any more."""
    read = {name for inner in graphs(graph) for node in inner.node for name in node.input}
    read |= {output.name for inner in graphs(graph) for output in inner.output}
    for place in reversed(range(len(graph.initializer))):  # those that stay are not copied
        if graph.initializer[place].name not in read:
            del graph.initializer[place]
