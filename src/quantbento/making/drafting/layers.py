"""What most of a model's weights are in: linear layers (and tables of embeddings), or convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from quantbento.quantizers.base import Layers
from quantbento.runtimes.onnx import graphs
from quantbento.tasks.source import SourceModel


def of(source: SourceModel) -> Layers:
    """A module may have no weights: its tensors may be on `meta`. Without a module, linear layers are assumed."""
    if source.onnx is not None:
        import onnx

        loaded = onnx.load(source.onnx, load_external_data=False)
        inner = list(graphs(loaded.graph))
        constants = [
            a.t for graph in inner for node in graph.node if node.op_type == "Constant" for a in node.attribute
        ]
        return _mostly(tensor.dims for tensor in [*(i for graph in inner for i in graph.initializer), *constants])
    return _mostly(p.shape for p in source.module.parameters()) if source.module is not None else "linear"


def _mostly(shapes: Iterable[Sequence[int]]) -> Layers:
    """Weights of convolutions have three dimensions or more, those of linear layers two."""
    linear = convolution = 0
    for shape in shapes:
        linear += prod(shape) * (len(shape) == 2)
        convolution += prod(shape) * (len(shape) > 2)
    return "convolution" if convolution > linear else "linear"
