"""What is known about a model before its weights are read: its configuration, its files and the headers of its
weights."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import yaml

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import FLOATS, tensors
from quantbento.inputs.source import NamedModel
from quantbento.making.drafting.named import CONFIG, Named, read_object

# Files of which a text model has at least one, and files of which a model of images or sounds has one.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
UNNAMED = "LABEL_"  # what Transformers calls outputs without names
DTYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Facts:
    """A model in hub format.

    Attributes:
        folder: where its configuration is; a hub model's weights are not there.
        config: what `config.json` says.
        architecture: the class it was saved from; None where the configuration does not say.
        parameters, dtype: how many weights, and most of them in which type; None where no header was found.
        pipeline_tag: what its model card says it is for, in the hub's words.
    """

    folder: Path
    config: dict[str, Any]
    architecture: str | None
    parameters: int | None = None
    dtype: str | None = None
    pipeline_tag: str | None = None
    files: frozenset[str] = field(default_factory=frozenset)

    @property
    def has_tokenizer(self) -> bool:
        return not self.files.isdisjoint(TOKENIZERS)

    @property
    def has_processor(self) -> bool:
        return not self.files.isdisjoint(PROCESSORS)

    @property
    def labels(self) -> list[str]:
        """The names of a classifier's outputs; Transformers writes none where there are two without names."""
        given = self.config.get("id2label") or {}
        return [str(name) for name in given.values()] or [f"{UNNAMED}{i}" for i in range(2)]

    @property
    def longest(self) -> int | None:
        """Tokens that the model takes."""
        text = self.config.get("text_config") or self.config
        found = text.get("max_position_embeddings") or text.get("n_positions")
        return int(found) if found else None

    def __str__(self) -> str:
        parts = [self.architecture or "a model without a named class"]
        if self.parameters:
            parts.append(f"{self.parameters / 1e6:.3g} M parameters in {self.dtype}")
        if self.config.get("id2label"):
            parts.append(f"labels {', '.join(self.labels[:6])}{' ...' * (len(self.labels) > 6)}")
        return ", ".join(parts)


def read(named: Named, model: NamedModel) -> Facts:
    """The facts of a model in hub format. Of a hub model, small files are fetched and no weights.

    Raises:
        QuantbentoError: it cannot be found, or is quantized already.
    """
    folder = model.folder(weights=False)
    if not (folder / CONFIG).is_file():
        raise QuantbentoError(f"{folder} is no model in hub format: it has no {CONFIG}")
    config = read_object(folder / CONFIG)
    if quantization := config.get("quantization_config"):
        method = quantization.get("quant_method") or quantization.get("quant_algo") or "a method it does not name"
        raise QuantbentoError(
            f"{named.spec.id or folder} is quantized already (by {method}); name the full-precision model it was made "
            "from: quantbento init MODEL"
        )
    counted = _hub_parameters(model) if named.spec.id else _parameters(folder)
    names = config.get("architectures") or [None]
    return Facts(
        folder,
        config,
        names[0],
        sum(counted.values()) or None,
        counted.most_common(1)[0][0] if counted else None,
        _pipeline_tag(folder / "README.md"),
        frozenset(path.name for path in folder.iterdir()),
    )


def _parameters(folder: Path) -> Counter[str]:
    """How many numbers of each type the safetensors files hold, from their headers."""
    counted: Counter[str] = Counter()
    try:
        found = tensors(folder)
    except (ValueError, OSError, KeyError, struct.error) as error:
        raise QuantbentoError(f"a safetensors file in {folder} is damaged: {error}") from None
    for kind, shape in found.values():
        if kind in FLOATS:
            counted[DTYPES[kind]] += prod(shape)
    return counted


def _hub_parameters(model: NamedModel) -> Counter[str]:
    """The same of a hub model, whose headers are fetched; empty without network."""
    from huggingface_hub import HfApi

    spec = model.pinned
    try:
        told = HfApi().get_safetensors_metadata(str(spec.id), revision=spec.revision).parameter_count
    except Exception:  # the hub's errors share no useful base; the figure is for people only
        return Counter()
    return Counter({DTYPES.get(kind, kind): count for kind, count in told.items()})


def _pipeline_tag(card: Path) -> str | None:
    """What a model card's metadata says."""
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    try:
        metadata = yaml.safe_load(text.removeprefix("---").partition("\n---")[0]) if text.startswith("---\n") else None
    except yaml.YAMLError:
        return None
    return metadata.get("pipeline_tag") if isinstance(metadata, dict) else None
