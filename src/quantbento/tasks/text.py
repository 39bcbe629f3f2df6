"""What the text tasks share: the model's own fast tokenizer turns texts into token ids.

Serving needs the small `tokenizers` package only; `transformers` is used where a model is first read.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays, TaskOptions
from quantbento.tasks.difficult import TEXTS
from quantbento.tasks.source import SourceModel

if TYPE_CHECKING:
    from tokenizers import Encoding

_PADDED_WITH_ZERO = ("attention_mask", "token_type_ids")
_ATTRIBUTE = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}  # of an `Encoding`

BYTES_PER_TOKEN = 4  # about, of most tokenizers and languages; an estimate for queues
SPECIAL_TOKENS = 2


class TextOptions(TaskOptions):
    max_length: int | None = Field(None, gt=0, description="tokens kept per text; the model's own limit by default")
    engine: dict[str, Any] = Field({}, description="settings of the runtime's engine, for judging and for serving")


class TextInputs:
    """A tokenizer with its limits. `names` are the tokenizer's outputs that the model takes as inputs."""

    def __init__(self, tokenizer_json: str, names: list[str], pad_id: int, max_length: int, prompt: str = "") -> None:
        from tokenizers import Tokenizer

        self.names, self.pad_id, self.max_length, self.prompt = names, pad_id, max_length, prompt
        self._json = tokenizer_json
        self.tokenizer = Tokenizer.from_str(tokenizer_json)
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.no_padding()

    @classmethod
    def create(cls, source: SourceModel, options: TextOptions, prompt: str = "") -> TextInputs:
        tokenizer = fast_tokenizer(source)
        assert source.folder is not None and source.module is not None
        if tokenizer.pad_token_id is None:
            raise QuantbentoError(f"the tokenizer in {source.folder} has no padding token; set pad_token in it")
        accepted = inspect.signature(source.module.forward).parameters
        names = [n for n in tokenizer.model_input_names if n in accepted]
        limit = _max_length(source, options, tokenizer)
        return cls(tokenizer.backend_tokenizer.to_str(), names, tokenizer.pad_token_id, limit, prompt)

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> TextInputs:
        return cls((folder / "tokenizer.json").read_text(encoding="utf-8"), **config)

    def save(self, folder: Path) -> dict[str, Any]:
        (folder / "tokenizer.json").write_text(self._json, encoding="utf-8")
        return {
            "names": self.names,
            "pad_id": self.pad_id,
            "max_length": self.max_length,
            "prompt": self.prompt,
        }

    def encode(self, text: str, pair: str | None = None) -> dict[str, list[int]]:
        """A text, or a pair of texts, as token ids and masks by input name. Of a pair that is too long, the longer text
        is cut first."""
        return self.encode_all([(text,) if pair is None else (text, pair)])[0]

    def encode_all(self, texts: Sequence[tuple[str, ...]]) -> list[dict[str, list[int]]]:
        """The same of many texts or pairs at once, which is faster."""
        given = [(self.prompt + text, *pair) if pair else self.prompt + text for text, *pair in texts]
        return [
            {name: getattr(encoding, _ATTRIBUTE[name]) for name in self.names}
            for encoding in self.tokenizer.encode_batch_fast(given)
        ]

    def encoding(self, text: str, pair: str | None = None) -> Encoding:
        """What the tokenizer says of a text: its tokens, and which characters each of them stands for."""
        return self.tokenizer.encode(self.prompt + text, pair)

    def collate(self, encoded: Sequence[dict[str, list[int]]]) -> Arrays:
        """int64 arrays of shape (texts, longest)."""
        longest = max(len(e["input_ids"]) for e in encoded)
        batch = {}
        for name in self.names:
            fill = 0 if name in _PADDED_WITH_ZERO else self.pad_id
            batch[name] = np.full((len(encoded), longest), fill, dtype=np.int64)
            for row, e in zip(batch[name], encoded, strict=True):
                row[: len(e[name])] = e[name]
        return batch


class TextTask(ArrayTask):
    """A task whose items are texts."""

    Options = TextOptions
    chunk_items = 8  # measured best with texts sorted by length, on 2 cores
    concurrent = True
    distributions = ("tokenizers", "transformers")
    modules = ("tokenizers",)
    extra = "text"
    text: TextInputs

    def check(self, item: Any) -> Any:
        return checked_text(item)

    def parts(self, item: Any) -> tuple[str, ...]:
        """The text or the two texts of a checked item."""
        return (item,)

    def encode(self, item: Any) -> dict[str, list[int]]:
        return self.encode_all([item])[0]

    def encode_all(self, items: Sequence[Any]) -> list[dict[str, list[int]]]:
        return self.text.encode_all([self.parts(item) for item in items])

    def size(self, item: Any) -> int:
        letters = sum(len(part.encode()) for part in self.parts(item))
        return min(SPECIAL_TOKENS + letters // BYTES_PER_TOKEN, self.text.max_length)

    def length(self, encoded: dict[str, list[int]]) -> int:
        return len(encoded["input_ids"])

    def collate(self, encoded: Sequence[dict[str, list[int]]]) -> Arrays:
        return self.text.collate(encoded)

    def examples(self) -> list[Any]:
        return ["A sentence of ordinary length, to warm up with.", "A short one.", "Two words"]

    def dynamic_axes(self) -> dict[str, tuple[int, ...]]:
        """Axis 0 counts the texts, axis 1 the tokens of the longest text."""
        return {name: (0, 1) for name in self.input_names}

    def difficult(self, checked: Sequence[Any]) -> dict[str, list[Any]]:
        """Strange texts. Of items with several, each is the same."""
        if len(self.fields) == 1:
            return {kind: list(texts) for kind, texts in TEXTS.items()}
        return {kind: [dict.fromkeys(self.fields, text) for text in texts] for kind, texts in TEXTS.items()}

    def item_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


def checked_text(item: Any, what: str = "") -> str:
    """The item, if it is a text that a tokenizer takes.

    Args:
        item: anything.
        what: what a message calls it, such as "query "; an item by itself has no name.

    Raises:
        InvalidInput: it is no string, has nothing but space, or a lone surrogate.
    """
    if not isinstance(item, str):
        raise InvalidInput(f"{what}must be a string, not {type(item).__name__}")
    if not item.strip():
        raise InvalidInput(f"{what}must not be empty")
    try:
        item.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{what}is not valid Unicode: a lone surrogate at character {error.start}") from None
    return item


def fast_tokenizer(source: SourceModel) -> Any:
    """The Transformers tokenizer of a model, one that the `tokenizers` package can do without Transformers.

    Raises:
        QuantbentoError: there is none.
    """
    from transformers import AutoTokenizer

    if source.folder is None or source.module is None:
        raise QuantbentoError(
            "a text task needs a model in hub format with its tokenizer; a factory returns the folder's path"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=source.trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise QuantbentoError(f"no tokenizer could be read from {source.folder}: {error}") from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise QuantbentoError(
            f"the tokenizer in {source.folder} has no fast version; add a tokenizer.json to the folder"
        )
    return tokenizer


def read_json(path: Path) -> Any:
    """A model folder's configuration file; an empty mapping where it is missing.

    Raises:
        QuantbentoError: the file is not JSON.
    """
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise QuantbentoError(f"{path} is not valid JSON: {error}") from None


def _max_length(source: SourceModel, options: TextOptions, tokenizer: Any) -> int:
    """The recipe's limit, else the sentence-transformers limit, else the tokenizer's, else the model's."""
    assert source.folder is not None
    config = read_json(source.folder / "config.json")
    candidates = [
        options.max_length,
        read_json(source.folder / "sentence_bert_config.json").get("max_seq_length"),
        tokenizer.model_max_length if tokenizer.model_max_length < 1_000_000 else None,
        config.get("max_position_embeddings"),
    ]
    limit = next((c for c in candidates if c), None)
    if limit is None:
        raise QuantbentoError(f"{source.folder} does not say how long a text may be; set max_length under task_options")
    positions = config.get("max_position_embeddings")
    if positions and limit > positions:
        raise QuantbentoError(f"max_length {limit} is more than the model's {positions} positions")
    return int(limit)
