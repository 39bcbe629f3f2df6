"""Files beside a report, replaced in one step."""

from __future__ import annotations

from pathlib import Path

from quantbento.core.errors import QuantbentoError


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file; a reader never sees half of it. Its folder is made where it is missing.

    Raises:
        QuantbentoError: it cannot be written.
    """
    staged = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(content)
        staged.replace(path)
    except OSError as error:
        raise QuantbentoError(f"{path} could not be written: {error.strerror}") from error
