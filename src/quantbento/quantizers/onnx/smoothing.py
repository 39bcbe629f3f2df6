"""SmoothQuant (Xiao et al. 2022, https://arxiv.org/abs/2211.10438) for the matrix products of a float graph.

A few channels of a transformer's activations are far larger than the others, which then share what is left of 8 bits.
Dividing each channel by a factor, and multiplying the weights that read it, changes nothing in float and makes both
easy to round. For activations x (rows, channels) and weights w (channels, n), all that read x taken together:

    s_j = max|x_j|^alpha / max|w_j|^(1 - alpha)        x w = (x / s) (s w)

The division is folded where x comes from, if that is exact and nothing else reads x: into the weights of a layer
normalisation, or into the columns of attention's value projection. Elsewhere it is one Mul.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from quantbento.quantizers.onnx.activations import measured
from quantbento.quantizers.onnx.prepare import remove_unread
from quantbento.tasks.base import Arrays

if TYPE_CHECKING:
    import onnx

SMALLEST = 1e-5  # of a maximum; channels that are always 0 stay so
BETWEEN_HEADS = [0, 2, 1, 3]  # (batch, tokens, heads, width) to (batch, heads, tokens, width), and back


def smooth(model: onnx.ModelProto, nodes: Iterable[str], alpha: float, batches: list[Arrays]) -> None:
    """Smooths the inputs of the named MatMul nodes, whose second input are constant float32 weights (channels, n), in
    place.

    Args:
        alpha: share of the difficulty that the weights take, from 0 to 1.
        batches: calibration samples, by input name.
    """
    graph = _Graph(model.graph)
    chosen = set(nodes)
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        if node.name in chosen:
            readers[node.input[0]].append(node)
    seen = measured(model, chosen, batches)
    factors = {}
    for name, of in readers.items():
        heaviest = np.max([np.abs(graph.weight(node.input[1])).max(1) for node in of], axis=0)
        largest = np.maximum(seen[name].channels, SMALLEST)
        factors[name] = (largest**alpha / np.maximum(heaviest, SMALLEST) ** (1 - alpha)).astype(np.float32)
    for name, of in readers.items():
        for node in of:
            graph.replace(node, 1, graph.weight(node.input[1]) * factors[name][:, None])
    for name, of in readers.items():
        if graph.readers(name) == len(of) and graph.divide_source(name, factors[name]):
            continue
        graph.divide(name, of, 1 / factors[name])
    graph.finish()


class _Graph:
    """A graph whose constants and nodes change."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self._weights = {i.name: i for i in graph.initializer}
        self._source = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, int] = defaultdict(int)
        for name in [*(name for node in graph.node for name in node.input), *(o.name for o in graph.output)]:
            self._readers[name] += 1
        self._after: dict[str, onnx.NodeProto] = {}  # by the name of the activation that it divides

    def readers(self, name: str) -> int:
        return self._readers[name]

    def weight(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return numpy_helper.to_array(self._weights[name])

    def replace(self, node: onnx.NodeProto, place: int, values: np.ndarray) -> None:
        """Gives a node a constant of its own: others may read the one that it had."""
        from onnx import numpy_helper

        name = f"{node.name}/smoothed{place}"
        if name in self._weights:  # a value projection, whose rows were smoothed before
            self._weights[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
            return
        self.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        self._weights[name] = self.graph.initializer[-1]
        node.input[place] = name

    def divide(self, name: str, of: list[onnx.NodeProto], inverse: np.ndarray) -> None:
        """Multiplies an activation by `inverse` for some of its readers."""
        from onnx import helper, numpy_helper

        smoothed = f"{name}/smoothed"
        self.graph.initializer.append(numpy_helper.from_array(inverse.astype(np.float32), f"{smoothed}/inverse"))
        self._after[name] = helper.make_node("Mul", [name, f"{smoothed}/inverse"], [smoothed], name=smoothed)
        for node in of:
            node.input[0] = smoothed

    def divide_source(self, name: str, factors: np.ndarray) -> bool:
        """Divides an activation that nothing else reads where it comes from; False where that is not exact."""
        source = self._source.get(name)
        if source is None:
            return False
        if source.op_type == "LayerNormalization":
            return self._divide_norm(source, factors)
        if source.op_type == "Reshape":
            return self._divide_values(source, factors)
        return False

    def _divide_norm(self, norm: onnx.NodeProto, factors: np.ndarray) -> bool:
        places = [place for place in (1, 2) if place < len(norm.input) and norm.input[place]]
        if not all(norm.input[place] in self._weights for place in places):
            return False
        if any(self.weight(norm.input[place]).shape != factors.shape for place in places):
            return False
        for place in places:
            self.replace(norm, place, self.weight(norm.input[place]) / factors)
        return True

    def _divide_values(self, merged: onnx.NodeProto, factors: np.ndarray) -> bool:
        """Attention: what is divided is a weighted mean of the value projection's rows, so its columns can be."""
        heads = self._only(merged, "Transpose", perm=BETWEEN_HEADS)
        mean = self._only(heads, "MatMul")
        values = self._only(mean, "Transpose", place=1, perm=BETWEEN_HEADS)
        split = self._only(values, "Reshape")
        bias = self._only(split, "Add")
        product = self._only(bias, "MatMul", place=None) or self._only(split, "MatMul")
        if product is None or product.input[1] not in self._weights:
            return False
        weight = self.weight(product.input[1])
        place = next((i for i, name in enumerate(bias.input) if name in self._weights), None) if bias else None
        if weight.ndim != 2 or weight.shape[1:] != factors.shape or (bias is not None and place is None):
            return False
        if bias is not None and place is not None:
            if self.weight(bias.input[place]).shape != factors.shape:
                return False
            self.replace(bias, place, self.weight(bias.input[place]) / factors)
        self.replace(product, 1, weight / factors)
        return True

    def _only(
        self, node: onnx.NodeProto | None, op: str, place: int | None = 0, perm: list[int] | None = None
    ) -> onnx.NodeProto | None:
        """The node of this type that makes an input of `node`, if nothing else reads what it makes. `place` None: any
        input."""
        if node is None:
            return None
        for name in [node.input[place]] if place is not None else node.input:
            source = self._source.get(name)
            if source is None or source.op_type != op or self._readers[name] != 1:
                continue
            if perm is None or perm == [n for a in source.attribute if a.name == "perm" for n in a.ints]:
                return source
        return None

    def finish(self) -> None:
        """Puts the new nodes behind those whose outputs they divide."""
        nodes = []
        inputs = [i.name for i in self.graph.input]
        nodes += [self._after[name] for name in inputs if name in self._after]
        for node in self.graph.node:
            nodes.append(node)
            nodes += [self._after[name] for name in node.output if name in self._after]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        remove_unread(self.graph)
