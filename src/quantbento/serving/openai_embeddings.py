"""OpenAI's shape of an embeddings request and its response."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from bentoml.exceptions import InvalidArgument


def one_or_many(value: Any) -> Any:
    """A lone text as a list of one: clients may send either."""
    return [value] if isinstance(value, str) else value


def check_dimensions(wanted: int | None, vectors: Sequence[Any]) -> None:
    """Refuses vectors shorter than the model's: to give others in silence would break the client's index.

    Raises:
        InvalidArgument: 400, with the model's number.
    """
    if wanted is not None and wanted != len(vectors[0]):
        raise InvalidArgument(f"dimensions {wanted}: this model's embeddings have {len(vectors[0])}; leave it out")


def embeddings_response(vectors: Sequence[Any], encoding_format: str, model: str, tokens: int) -> dict[str, Any]:
    """The body of `POST /v1/embeddings`; `base64` is what the official clients ask for (little-endian float32)."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": _encoded(vector, encoding_format)}
            for i, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _encoded(vector: Any, encoding_format: str) -> list[float] | str:
    if encoding_format == "float":
        return list(vector)
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
