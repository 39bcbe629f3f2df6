"""What the activations of a graph are like on calibration samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantbento.quantizers.onnx.loading import session
from quantbento.tasks.base import Arrays

if TYPE_CHECKING:
    import onnx


AXES_ARE_INPUTS = 18  # of ReduceMax and ReduceMin, since this opset
WORTHWHILE = 1.2  # by how much steps must be smaller for another zero point than the middle


@dataclass(frozen=True)
class Activation:
    """An activation of shape (..., channels), seen as rows.

    Attributes:
        channels: the largest magnitude of each channel, float32 of shape (channels,).
        low, high: the smallest and the largest number of each row that was seen, or 0 where that is nearer to 0.
    """

    channels: np.ndarray
    low: np.ndarray
    high: np.ndarray


def measured(model: onnx.ModelProto, nodes: Iterable[str], batches: Iterable[Arrays]) -> dict[str, Activation]:
    """The first inputs by name of the named MatMul nodes, which have constant weights (channels, n). They are reduced
    inside the graph: whole, they would not fit in memory."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    chosen, weights = set(nodes), {i.name: i for i in model.graph.initializer}
    products = [node for node in model.graph.node if node.name in chosen]
    widths = {node.input[0]: weights[node.input[1]].dims[0] for node in products}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    graph = probe.graph
    axes = {axis: f"quantbento/axis{axis}" for axis in (0, 1)}
    graph.initializer.extend(numpy_helper.from_array(np.asarray([axis], np.int64), name) for axis, name in axes.items())
    opset = max(o.version for o in probe.opset_import if o.domain in ("", "ai.onnx"))
    wanted = []
    for place, (name, width) in enumerate(widths.items()):
        rows, magnitudes = f"quantbento/rows{place}", f"quantbento/magnitudes{place}"
        graph.initializer.append(numpy_helper.from_array(np.asarray([-1, width], np.int64), f"{rows}/shape"))
        graph.node.append(helper.make_node("Reshape", [name, f"{rows}/shape"], [rows]))
        graph.node.append(helper.make_node("Abs", [rows], [magnitudes]))
        for op, of, axis in (("ReduceMax", magnitudes, 0), ("ReduceMin", rows, 1), ("ReduceMax", rows, 1)):
            output = f"quantbento/{op}{axis}/{place}"
            if opset >= AXES_ARE_INPUTS:
                graph.node.append(helper.make_node(op, [of, axes[axis]], [output], keepdims=0))
            else:
                graph.node.append(helper.make_node(op, [of], [output], keepdims=0, axes=[axis]))
            graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
            wanted.append(output)
    loaded = session(probe)
    seen = [loaded.run(wanted, batch) for batch in batches]
    return {
        name: Activation(
            np.max([of_batch[3 * place] for of_batch in seen], axis=0),
            np.minimum(np.concatenate([of_batch[3 * place + 1] for of_batch in seen]), 0),
            np.maximum(np.concatenate([of_batch[3 * place + 2] for of_batch in seen]), 0),
        )
        for place, name in enumerate(widths)
    }


def zero_point(activation: Activation) -> int:
    """The 8-bit number that stands for 0, for all rows of an activation, such that with a scale of its own each row has
    the smallest steps on average. 128 where the rows have as much below 0 as above."""
    points = np.arange(1, 255)
    steps = np.maximum(activation.high[:, None] / (255 - points), -activation.low[:, None] / points)
    used = steps[steps.max(1) > 0]
    if not len(used):
        return 128
    relative = (used / used.min(1, keepdims=True)).mean(0)
    best = int(points[relative.argmin()])
    return 128 if relative[127] < WORTHWHILE * relative.min() else best
