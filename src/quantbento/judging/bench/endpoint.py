"""What a running service takes: its task by `GET /info`, its endpoint and the shape of a request by `GET /docs.json`.
Requests are made up from that, or from the user's samples."""

from __future__ import annotations

import base64
import json
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench.inputs import WORDS

JSON = "application/json"
DIFFERENT = 256  # requests that are made up, so that a cache of answers does not answer them
SIDE = 224  # pixels of an image that is made up
FREE_SIZE = 8  # of an axis of any size, where no example says one


@dataclass(frozen=True)
class Endpoint:
    """
    Attributes:
        url: of the service.
        model, task: what answers.
        path: where requests go.
        field: of a request's body, that holds the inputs, or the prompt.
        schema: of that field.
    """

    url: str
    model: str
    task: str
    path: str
    field: str
    schema: dict[str, Any]

    @property
    def generates(self) -> bool:
        return self.task == "text-generation"

    def items(self, samples: Sequence[Any], count: int = DIFFERENT) -> list[Any]:
        """Inputs as JSON has them: the user's, or made up."""
        if samples:
            return [as_json(item, self.schema.get("items", {})) for item in samples]
        chance = np.random.default_rng(0)
        if self.generates:
            return [_text(number) for number in range(count)]
        examples = self.schema.get("example") or [None]
        each = self.schema["items"]
        return [_made(each, examples[i % len(examples)], i, chance) for i in range(count)]


def find(url: str, headers: dict[str, str]) -> Endpoint:
    """What the service at `url` takes.

    Raises:
        QuantbentoError: nothing answers there, or it is no service of this project.
    """
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise QuantbentoError(f"{url!r} is no address; for example --url http://127.0.0.1:3000")
    info = _get(f"{url}/info", headers)
    document = _get(f"{url}/docs.json", headers)
    try:
        model, task = info["model"], info["task"]
        operations = {path: methods["post"] for path, methods in document["paths"].items() if "post" in methods}
    except (KeyError, TypeError):
        raise QuantbentoError(f"{url} is no service of quantbento; start one: quantbento serve TAG") from None
    for path, operation in operations.items():
        if path.startswith(("/v1/", "/v2/")) or path == "/rerank":
            continue
        if found := _field(operation):
            return Endpoint(url, model, task, path, *found)
    raise QuantbentoError(
        f"{url}/docs.json has no endpoint that takes a list of inputs; it has: {', '.join(operations)}"
    )


def as_json(item: Any, schema: dict[str, Any]) -> Any:
    """A sample as a client sends it. A file goes as base64; a lone array without its name."""
    if isinstance(item, Path):
        return base64.b64encode(item.read_bytes()).decode()
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    if isinstance(item, dict):
        values = {name: as_json(value, {}) for name, value in item.items()}
        return values if schema.get("type") in ("object", None) else next(iter(values.values()))
    return item.tolist() if isinstance(item, np.ndarray | np.generic) else item


def _get(address: str, headers: dict[str, str]) -> Any:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        told = ": it asks for a key; name its file with --api-key-file" if error.code in (401, 403) else ""
        raise QuantbentoError(f"{address} answers {error.code}{told or '; is it a service of quantbento?'}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise QuantbentoError(f"{address} does not answer ({reason}). Start a service: quantbento serve TAG") from None


def _field(operation: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The one field that a request needs, if it is a list or a prompt."""
    schema = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
    if len(needed := schema.get("required", [])) != 1:
        return None
    field = schema["properties"].get(needed[0], {})
    return (needed[0], field) if field.get("type") == "array" or needed[0] == "prompt" else None


def _made(schema: dict[str, Any], example: Any, number: int, chance: np.random.Generator) -> Any:
    """A value of a schema, near an example where there is one. `number` makes it differ from the others."""
    kind = schema.get("type")
    if kind == "object":
        given = example if isinstance(example, dict) else {}
        parts = schema.get("properties", {})
        return {name: _made(part, given.get(name), number, chance) for name, part in parts.items()}
    if kind == "array":
        size = len(example) if isinstance(example, list) else schema.get("minItems", 1)
        if not isinstance(example, list) and "maxItems" not in schema:
            size = max(size, FREE_SIZE)
        each = example if isinstance(example, list) else [None] * size
        return [_made(schema.get("items", {}), each[i], number, chance) for i in range(size)]
    if kind == "string":
        if schema.get("format") == "byte":
            return base64.b64encode(_png(number)).decode()
        return f"{example} {_text(number)}" if isinstance(example, str) else _text(number)
    if kind == "number":
        return round(float(chance.random()), 6)
    return example if example is not None else max(1, schema.get("minimum", 1)) if kind == "integer" else True


def _text(number: int) -> str:
    """A short text that no other number has."""
    return " ".join(WORDS[(number // len(WORDS) ** place) % len(WORDS)] for place in range(8))


def _png(number: int) -> bytes:
    """A picture of two slopes, in a colour of its own (PNG specification, section 5)."""
    slope = np.add.outer(np.arange(SIDE), np.arange(SIDE)) + number
    pixels = np.stack([slope, slope * 3, slope * 7 + 31 * number], axis=2).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
