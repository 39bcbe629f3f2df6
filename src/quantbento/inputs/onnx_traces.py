"""What an exporter notes down in an ONNX graph: stack traces with file paths and source lines, class names.

No runtime reads these notes, and whoever gets the file reads in them what the machine that made it looks like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

NOTES = ("doc_string", "metadata_props")


def strip_traces(message: Any) -> None:
    """Removes the notes on everything inside an `onnx.ModelProto`, in place: its graph, nodes, values, weights and
    functions. What is computed stays as it is. So do the model's own description and metadata, which its author wrote
    for its users: the names of its classes, a licence.
    """
    from google.protobuf.message import Message

    for field in message.DESCRIPTOR.fields:
        if field.message_type is None or field.name in NOTES:
            continue
        value = getattr(message, field.name)
        if isinstance(value, Message):  # not repeated: there is a default one where none is set
            value = [value] if message.HasField(field.name) else []
        for part in value:
            for note in NOTES:
                if note in part.DESCRIPTOR.fields_by_name:
                    part.ClearField(note)
            strip_traces(part)


def strip_file(path: Path) -> None:
    """The same for a file; weights in a file beside it are not read."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    strip_traces(model)
    onnx.save(model, path)
