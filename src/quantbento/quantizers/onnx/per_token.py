"""INT8 for an ONNX graph with one activation scale per token (per row), computed at run time.

ONNX Runtime's own dynamic quantization takes one scale for a whole batch, so the answer to a text depends on the texts
beside it: MiniLM's embeddings of a sentence alone and in a batch had a cosine as low as 0.95. With one scale per row,
an answer is bit-identical whatever else is in the batch, it is nearer to full precision (mean cosine 0.997 instead of
0.993), and it takes the same time. For x (rows, k) and weights w (k, n), with z the number that stands for 0:

    s = max(max x / (255 - z), max -x / z) of each row        q = round(x / s) + z, as uint8
    y = s * (q - z) @ w8 * s_w                                with w8 the weights in int8 and s_w their scales

z is 128, and then s = max|x| / 127; or another number for activations that are mostly on one side, as behind a GELU,
where calibration samples tell (`activations.py`). An embedding table gets one scale per row, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from quantbento.quantizers.onnx.activations import AXES_ARE_INPUTS
from quantbento.quantizers.onnx.prepare import remove_unread

OPS = ("MatMul", "Gather")
OLDEST_OPSET = 10  # since then there is QuantizeLinear
MIDDLE = 128
_MINUS_ONE = "quantbento/minus_one"


def quantize(
    model: Any,
    nodes: Iterable[str],
    per_channel: bool,
    reduce_range: bool,
    zero_points: Mapping[str, int] | None = None,
) -> Any:
    """Quantizes the named nodes to INT8, in place, and returns the model. They are MatMul and Gather nodes with
    constant float32 weights of two dimensions.

    Args:
        per_channel: weights have one scale per column.
        reduce_range: weights have 7 bits.
        zero_points: what stands for 0 in an activation, by its name; 128 in all others.
    """
    from onnx import helper

    chosen = set(nodes)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    rewriter = _Rewriter(model.graph, per_channel, 63 if reduce_range else 127, opset, zero_points or {})
    for node in list(model.graph.node):
        if node.name not in chosen:
            rewriter.nodes.append(node)
        elif node.op_type == "MatMul":
            rewriter.matmul(node)
        else:
            rewriter.gather(node)
    rewriter.finish()
    if not any(o.domain == "com.microsoft" for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


class _Rewriter:
    """Collects the new graph's nodes and constants; `finish` replaces the old ones with them."""

    def __init__(self, graph: Any, per_channel: bool, largest: int, opset: int, zero_points: Mapping[str, int]) -> None:
        self.graph, self.per_channel, self.largest, self.opset = graph, per_channel, largest, opset
        self.zero_points = zero_points
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {
            _MINUS_ONE: np.asarray([-1], np.int64),
            "quantbento/weight_zero_point": np.asarray(0, np.int8),
            "quantbento/unit_scale": np.asarray(1, np.float32),
            "quantbento/tiny": np.asarray(1e-12, np.float32),  # a row of zeros must not divide by zero
        }
        self._weights = {i.name: i for i in graph.initializer}
        self._rows: dict[str, str] = {}  # by activation: queries, keys and values share one

    def matmul(self, node: Any) -> None:
        weight = self._array(node.input[1])
        rows = self._quantized_rows(node.input[0])
        name, shared = f"quantbento/{node.name}", f"quantbento/{node.input[1]}"  # layers may share their weights
        scale = np.abs(weight).max(axis=0 if self.per_channel else None) / self.largest
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        self.constants[f"{shared}/weight"] = self._rounded(weight / scale)
        self.constants[f"{shared}/weight_scale"] = scale
        integer = (
            f"{rows}/quantized",
            f"{shared}/weight",
            "quantbento/unit_scale",
            f"{shared}/weight_scale",
            self._zero_point(node.input[0]),
            "quantbento/weight_zero_point",
        )
        self._add("MatMulIntegerToFloat", integer, f"{name}/unscaled", domain="com.microsoft")
        self._add("Mul", (f"{name}/unscaled", f"{rows}/scale"), node.output[0])

    def gather(self, node: Any) -> None:
        table = self._array(node.input[0])
        name, shared = f"quantbento/{node.name}", f"quantbento/{node.input[0]}"
        scale = np.abs(table).max(axis=1, keepdims=True) / self.largest
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        self.constants[f"{shared}/table"] = self._rounded(table / scale)
        self.constants[f"{shared}/table_scale"] = scale
        for part in ("table", "table_scale"):
            self._add("Gather", (f"{shared}/{part}", node.input[1]), f"{name}/{part}_rows", axis=0)
        self._add("Cast", (f"{name}/table_rows",), f"{name}/as_float", to=1)
        self._add("Mul", (f"{name}/as_float", f"{name}/table_scale_rows"), node.output[0])

    def finish(self) -> None:
        """Puts the collected nodes and constants into the graph. Weights that another node still reads are kept."""
        from onnx import numpy_helper

        new = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(new)
        remove_unread(self.graph)

    def _quantized_rows(self, activation: str) -> str:
        """Adds the nodes that quantize an activation, once. Returns the prefix of their outputs' names."""
        if activation in self._rows:
            return self._rows[activation]
        name = self._rows[activation] = f"quantbento/rows/{activation}"
        zero_point = self.zero_points.get(activation, MIDDLE)
        if zero_point == MIDDLE:
            self._add("Abs", (activation,), f"{name}/absolute")
            parts = [self._steps("ReduceMax", f"{name}/absolute", f"{name}/step", 1 / 127)]
        else:
            parts = [
                self._steps("ReduceMax", activation, f"{name}/step_above", 1 / (255 - zero_point)),
                self._steps("ReduceMin", activation, f"{name}/step_below", -1 / zero_point),
            ]
        self._add("Max", (*parts, "quantbento/tiny"), f"{name}/scale")
        self._add("Div", (activation, f"{name}/scale"), f"{name}/scaled")
        quantize = (f"{name}/scaled", "quantbento/unit_scale", self._zero_point(activation))
        self._add("QuantizeLinear", quantize, f"{name}/quantized")
        return name

    def _steps(self, op: str, of: str, output: str, factor: float) -> str:
        """A row's largest or smallest number, as a scale."""
        if self.opset >= AXES_ARE_INPUTS:
            self._add(op, (of, _MINUS_ONE), f"{output}/number", keepdims=1)
        else:
            self._add(op, (of,), f"{output}/number", axes=[-1], keepdims=1)
        self.constants[f"{output}/factor"] = np.asarray(factor, np.float32)
        self._add("Mul", (f"{output}/number", f"{output}/factor"), output)
        return output

    def _zero_point(self, activation: str) -> str:
        value = self.zero_points.get(activation, MIDDLE)
        name = f"quantbento/activation_zero_point/{value}"
        self.constants[name] = np.asarray(value, np.uint8)
        return name

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        return np.clip(np.round(values), -self.largest, self.largest).astype(np.int8)

    def _array(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return numpy_helper.to_array(self._weights[name])

    def _add(self, op: str, inputs: tuple[str, ...], output: str, **attributes: Any) -> None:
        from onnx import helper

        name = output if output.startswith("quantbento/") else f"quantbento/{output}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
