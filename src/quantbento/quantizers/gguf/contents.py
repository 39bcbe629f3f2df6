"""What a GGUF file holds, read with the `gguf` package."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.base import Quantized

FLOATS = ("F64", "F32", "F16", "BF16")
OTHERWISE = ("gpt2", "default")  # the tokenizer of a byte-level vocabulary, where llama.cpp does not know how it splits


@dataclass(frozen=True)
class Tensor:
    name: str
    kind: str  # as llama.cpp calls its types: "Q4_K"
    shape: tuple[int, ...]  # the width of a row first
    parameters: int
    size_bytes: int


@dataclass(frozen=True)
class Contents:
    tensors: list[Tensor]
    tokenizer: tuple[str, str]  # `tokenizer.ggml.model` and `.pre`


def read(path: Path) -> Contents:
    """The tensors and the tokenizer's kind; weights are mapped, not read."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    tensors = [
        Tensor(t.name, t.tensor_type.name, tuple(int(s) for s in t.shape), int(t.n_elements), int(t.n_bytes))
        for t in reader.tensors
    ]
    keys = ("tokenizer.ggml.model", "tokenizer.ggml.pre")
    model, pre = (str(reader.fields[key].contents()) if key in reader.fields else "" for key in keys)
    return Contents(tensors, (model, pre))


def count(contents: Contents, fallbacks: list[str]) -> Quantized:
    """Counts the tensors by type.

    Args:
        fallbacks: what llama.cpp said about tensors whose rows do not fit the type.

    Raises:
        QuantbentoError: no tensor is quantized.
    """
    quantized = [t for t in contents.tensors if t.kind not in FLOATS]
    if not quantized:
        raise QuantbentoError("gguf would quantize nothing: every tensor of the file is in floats")
    parameters = sum(t.parameters for t in quantized)
    notes = []
    if fallbacks:
        notes.append(f"{len(fallbacks)} of {len(quantized)} tensors fell back to another type: {fallbacks[0]}")
    if contents.tokenizer == OTHERWISE:
        notes.append(
            "llama.cpp does not know this tokenizer: give the file token ids, as this runtime does; programs that give "
            "it texts may split them in another way"
        )
    return Quantized(
        {},
        {f"{kind} tensors": n for kind, n in Counter(t.kind for t in quantized).most_common()},
        quantized_parameters=parameters,
        parameters=sum(t.parameters for t in contents.tensors),
        left_out=[t.name for t in contents.tensors if t.kind in FLOATS and len(t.shape) > 1],
        notes=notes,
        weight_ratio=sum(t.size_bytes for t in quantized) / (2 * parameters),
    )
