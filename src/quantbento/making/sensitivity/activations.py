"""How far single channels of a layer's input stand out.

Where activations share a scale, a channel that is much larger than the others leaves them few steps. LLM.int8()
(Dettmers et al. 2022, https://arxiv.org/abs/2208.07339) multiplies channels from a magnitude of 6.0 up in 16 bit, and
SmoothQuant (https://arxiv.org/abs/2211.10438) compares the largest magnitudes of channels. With m_j = max |x_j| over
all samples:

    max_abs = max_j m_j        outlier_ratio = max_j m_j / median_j m_j
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

LARGE = 6.0  # LLM.int8()'s threshold
SMALLEST = 1e-12


def figures(channels: np.ndarray) -> dict[str, float]:
    """The figures of the channels' largest magnitudes (channels,). `large_channels` is how many reach `LARGE`."""
    largest = float(channels.max())
    return {
        "max_abs": largest,
        "outlier_ratio": largest / max(float(np.median(channels)), SMALLEST),
        "large_channels": int((channels >= LARGE).sum()),
    }


def of_modules(module: Any, layers: Mapping[str, str], batches: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of layers of a PyTorch module. Layers whose input are no floats, such as embeddings, are left out.

    Args:
        layers: the names of submodules, by what the result calls them.
        batches: tensors by input name.
    """
    import torch

    seen: dict[str, np.ndarray] = {}

    def watch(name: str) -> Any:
        def hook(layer: Any, given: tuple[Any, ...]) -> None:
            if given and torch.is_tensor(given[0]) and given[0].is_floating_point():
                largest = _channels(layer, given[0])
                seen[name] = np.maximum(seen[name], largest) if name in seen else largest

        return hook

    hooks = [module.get_submodule(inside).register_forward_pre_hook(watch(name)) for name, inside in layers.items()]
    try:
        with torch.inference_mode():
            for batch in batches:
                module(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: figures(channels) for name, channels in seen.items()}


def of_nodes(model: Any, nodes: Sequence[str], batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The figures of the MatMul and Conv nodes of an `onnx.ModelProto`, by name."""
    import onnx
    from onnx import TensorProto, helper

    from quantbento.quantizers.onnx.loading import session

    weights = {i.name for i in model.graph.initializer}
    of = {n.name: n for n in model.graph.node if n.name in nodes and n.op_type in ("MatMul", "Conv")}
    inputs = {name: node.input[0] for name, node in of.items() if node.input[0] not in weights}
    if not inputs:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    given = {value.name for value in [*probe.graph.input, *probe.graph.output]}
    wanted = dict.fromkeys(inputs.values())
    for value in wanted:
        if value not in given:
            probe.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    loaded = session(probe)
    seen: dict[str, np.ndarray] = {}
    asked = [value for value in wanted if value not in {i.name for i in probe.graph.input}]
    for batch in batches:
        values = dict(zip(asked, loaded.run(asked, dict(batch)) if asked else [], strict=True)) | dict(batch)
        for name, value in inputs.items():
            axis = 1 if of[name].op_type == "Conv" else -1
            largest = _largest(np.abs(values[value].astype(np.float32)), axis)
            seen[name] = np.maximum(seen[name], largest) if name in seen else largest
    return {name: figures(channels) for name, channels in seen.items()}


def _channels(layer: Any, given: Any) -> np.ndarray:
    """The largest magnitude of each channel: of the second axis for convolutions, else of the last."""
    convolution = type(layer).__name__.startswith("Conv") and hasattr(layer, "kernel_size")
    return _largest(given.detach().abs().float().cpu().numpy(), 1 if convolution else -1)


def _largest(magnitudes: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(magnitudes, axis, -1).reshape(-1, magnitudes.shape[axis]).max(0)
