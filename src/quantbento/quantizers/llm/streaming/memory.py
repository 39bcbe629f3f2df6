"""The estimated peak of resident memory, before any work."""

from __future__ import annotations

from math import prod

from quantbento.core import machine
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.llm.streaming.parts import SINGLE, Part, Stored, parts, stored

MB = 10**6
BASE = 245 * MB  # Python, PyTorch (2.13) and the worker's own code
CHUNK = 1 << 20  # weights that a thread rounds at once, where a row is not too long
CHUNK_BYTES = 16  # per weight of a chunk: in float32, divided by its scale, and as integers


def estimate(model: CheckpointFacts, schemes: dict[str, str], group_size: int) -> int:
    """Bytes. Of a model on the hub, whose files are not fetched yet, the linear layers count and embeddings do not.

    Args:
        schemes: by the name of the layer.
    """
    there = any(model.folder.glob("*.safetensors"))
    tensors = (
        stored(model.folder) if there else [Stored(f"{n}.weight", SINGLE, "BF16", s) for n, s in model.linears.items()]
    )
    return peak_bytes(parts(tensors), schemes, group_size, machine.default_threads())


def written_bytes(scheme: str, group_size: int, shape: tuple[int, int], scale_bytes: int = 2) -> int:
    """Bytes of a matrix (outputs, inputs) in a scheme, with its scales, zero points and shape."""
    outputs, inputs = shape
    if scheme == "FP8_BLOCK":
        return outputs * inputs + scale_bytes * -(-outputs // 128) * -(-inputs // 128)
    if scheme in ("W8A8", "FP8_DYNAMIC"):
        return outputs * (inputs + scale_bytes)
    per_word = 4 if scheme == "W8A16" else 8
    groups = 1 if group_size < 0 else inputs // group_size
    zero_points = 4 * -(-outputs // per_word) * groups if scheme.endswith("_ASYM") else 0
    return outputs * (4 * -(-inputs // per_word) + scale_bytes * groups) + zero_points + 16


def peak_bytes(made: list[Part], schemes: dict[str, str], group_size: int, threads: int) -> int:
    """The estimated peak of resident memory: what a part holds of its result so far, the tensor that is read, and a
    chunk per thread.

    Args:
        schemes: by the name of the layer; all other tensors are copied.
    """
    most = 0
    for part in made:
        held = 0
        for tensor in part:
            layer, _, own = tensor.name.rpartition(".")
            if own == "weight" and layer in schemes:
                shape = (tensor.shape[0], tensor.shape[1])
                written = written_bytes(schemes[layer], group_size, shape)
                chunk = CHUNK_BYTES * min(prod(shape), threads * max(CHUNK, 128 * shape[1]))
                most = max(most, held + tensor.bytes + written + chunk)
                held += written
            else:
                held += tensor.bytes
                most = max(most, held)
    return BASE + most
