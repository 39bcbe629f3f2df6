"""How much quantization changes what a transformer attends to.

A head's attention map has one row for each query: weights over the keys that sum to 1. The similarity of a layer is the
mean over items, heads and queries of the cosine of these rows in full precision and quantized. Queries that are padding
do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.onnx import MODEL

Maps = dict[str, np.ndarray]  # by layer: (items, heads, queries, keys), float32
KINDS = {
    "attentions": "",
    "encoder_attentions": "encoder ",
    "decoder_attentions": "decoder ",
    "cross_attentions": "cross ",
}
HEADS = 4  # axes of an attention map


def similarities(expected: Maps, found: Maps, mask: np.ndarray | None) -> list[dict[str, Any]]:
    """`layer` and `similarity` of each layer in both, in the order of the model.

    Args:
        mask: (items, tokens), 1 where a token is none of padding; None where nothing is padded.
    """
    return [
        {"layer": layer, "similarity": _cosine(maps, found[layer], mask)}
        for layer, maps in expected.items()
        if layer in found and found[layer].shape == maps.shape
    ]


def of_module(module: Any, batch: Mapping[str, Any]) -> Maps:
    """The attention maps of a Transformers model for a batch of tensors. Empty where it has none."""
    import torch

    if not hasattr(module, "set_attn_implementation"):
        return {}
    before = module.config._attn_implementation
    try:
        module.set_attn_implementation("eager")  # fused attention has no maps
        with torch.inference_mode():
            output = module(**batch, output_attentions=True)
    except (TypeError, ValueError):  # its forward knows no such argument, or it has no eager attention
        return {}
    finally:
        module.set_attn_implementation(before)
    found = {}
    for key, kind in KINDS.items():
        for place, maps in enumerate(output.get(key) or ()):
            if maps is not None and maps.ndim == HEADS:
                found[f"{kind}{place}"] = maps.float().cpu().numpy()
    return found


def of_onnx(path: Path, batch: Mapping[str, np.ndarray]) -> Maps:
    """The outputs of the Softmax nodes with four axes of an ONNX file, by the node's place among them."""
    import onnx

    from quantbento.quantizers.onnx.loading import session

    model = onnx.load(path)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    given = {output.name for output in model.graph.output}
    for name in names:
        if name not in given:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    values = session(model).run(names, dict(batch)) if names else []
    return _numbered([np.asarray(value, np.float32) for value in values])


def of_openvino(folder: Path, batch: Mapping[str, np.ndarray]) -> Maps:
    """The same of an artifact for OpenVINO."""
    from quantbento.runtimes import openvino as runtime

    core = runtime.engine().Core()
    model = core.read_model(folder / runtime.MODEL)
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() == "Softmax"]
    if not nodes:
        return {}
    first = len(model.outputs)
    model.add_outputs([node.output(0) for node in nodes])
    done = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(dict(batch))
    return _numbered([np.asarray(done[first + number], np.float32) for number in range(len(nodes))])


def of_loaded(loaded: Any, folder: Path | None, batch: Mapping[str, np.ndarray]) -> Maps:
    """The maps of a loaded artifact, however its runtime gives them; empty where it does not.

    Raises:
        QuantbentoError: the engine cannot give them.
    """
    import torch

    runtime = loaded.runtime
    try:
        if runtime.name in ("torch", "transformers"):
            device = next(iter(runtime.module.parameters()), torch.empty(0)).device
            return of_module(runtime.module, {name: torch.as_tensor(v).to(device) for name, v in batch.items()})
        if folder is not None and runtime.name == "onnx":
            return of_onnx(folder / MODEL, batch)
        if folder is not None and runtime.name == "openvino":
            return of_openvino(folder, batch)
    except Exception as error:  # the engines' errors share no base class
        raise QuantbentoError(f"attention maps could not be computed by {runtime.name}: {error}") from error
    return {}


def _numbered(values: list[np.ndarray]) -> Maps:
    return {str(place): maps for place, maps in enumerate(v for v in values if v.ndim == HEADS)}


def _cosine(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None) -> float:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = (a * b).sum(-1) / np.maximum(norms, 1e-12)  # (items, heads, queries)
    if mask is None or mask.shape != (a.shape[0], a.shape[2]):
        return float(cosine.mean())
    counted = np.broadcast_to(mask[:, None].astype(bool), cosine.shape)
    return float(cosine[counted].mean())
