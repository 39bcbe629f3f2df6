"""A checkpoint on disk, cut into parts that are rounded and written one after the other."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import BYTES, FLOATS, INDEX, header

MB = 10**6
SMALL, LARGE = 128 * MB, 1024 * MB  # layers below SMALL share a part, and a layer above LARGE gets several
LAYER = re.compile(r"^(.*?\.\d+)\.")
SINGLE = "model.safetensors"


@dataclass(frozen=True)
class Stored:
    """A tensor in a safetensors file; `dtype` as the file names it."""

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return BYTES.get(self.dtype, 1) * prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether it can be rounded: a matrix of floats."""
        return len(self.shape) == 2 and self.dtype in FLOATS


Part = list[Stored]


def stored(folder: Path) -> list[Stored]:
    """All tensors of a checkpoint in hub format, in the order of their layers.

    Raises:
        QuantbentoError: it has no safetensors files, or one that its index names is missing or damaged.
    """
    if (index := folder / INDEX).is_file():
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    elif (folder / SINGLE).is_file():
        files = [SINGLE]
    else:
        raise QuantbentoError(
            f"{folder} has neither {SINGLE} nor {INDEX}; load it with Transformers and save it again "
            "(`save_pretrained`), which writes them"
        )
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise QuantbentoError(f"{folder} lacks {', '.join(missing)}, which {INDEX} names; fetch the model again")
    found = []
    for file in files:
        for name, entry in header(folder / file).items():
            found.append(Stored(name, file, entry["dtype"], tuple(entry["shape"])))
    return sorted(found, key=lambda tensor: _place(tensor.name))


def parts(tensors: list[Stored], small: int = SMALL, large: int = LARGE) -> list[Part]:
    """The tensors in parts of whole layers: several small ones, or one. Only a layer of more than `large` bytes is cut
    into several parts. What is in no layer, such as embeddings, counts as one layer."""
    made: list[Part] = []
    layer, size = None, 0
    for tensor in tensors:
        new = _layer(tensor.name) != layer
        layer = _layer(tensor.name)
        begins = size >= small if new else size + tensor.bytes > large
        if begins or not made:
            made.append([])
            size = 0
        made[-1].append(tensor)
        size += tensor.bytes
    return made


def shard_names(count: int) -> list[str]:
    """As Transformers names the files of a checkpoint."""
    return [SINGLE] if count == 1 else [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]


def _layer(name: str) -> str:
    found = LAYER.match(name)
    return found.group(1) if found else ""


def _place(name: str) -> list[tuple[int, str]]:
    """Sorts numbers in names as numbers. What is in no layer comes first: embeddings take the most memory, and where
    that is not there, it is better to know at once."""
    pieces = re.split(r"(\d+)", name)
    return [(-2, "")] * (not LAYER.match(name)) + [(int(p), "") if p.isdigit() else (-1, p) for p in pieces]
