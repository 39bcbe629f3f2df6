"""Removes what an exporter notes in an ONNX graph: stack traces with file paths and source lines, class names.

No runtime reads these notes, but they show everyone who gets the file details of the machine that made it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

NOTES = ("doc_string", "metadata_props")


def strip_traces(message: Any) -> None:
    """Removes the notes on everything inside an `onnx.ModelProto`, in place: its graph, nodes, values, weights and
    functions. What it computes stays the same. The model's own description and metadata stay too, because its author
    wrote them for its users: class names, a licence.
    """
    from google.protobuf.message import Message

    for field in message.DESCRIPTOR.fields:
        if field.message_type is None or field.name in NOTES:
            continue
        value = getattr(message, field.name)
        if isinstance(value, Message):  # not repeated: an unset field reads as a default message
            value = [value] if message.HasField(field.name) else []
        for part in value:
            for note in NOTES:
                if note in part.DESCRIPTOR.fields_by_name:
                    part.ClearField(note)
            strip_traces(part)


def strip_file(path: Path) -> None:
    """Does the same to a file. Weights in a file beside it are not read."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    strip_traces(model)
    onnx.save(model, path)
