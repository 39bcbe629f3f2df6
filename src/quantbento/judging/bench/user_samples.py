"""A user's own inputs for a benchmark, read as a recipe reads samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.samples import load_samples
from quantbento.recipe import Samples


def read(given: str | None, task: Any) -> list[Any]:
    """The inputs in a file or folder, or those that `module:function` returns; none where none is named.

    Args:
        given: as the user named it.
        task: the class of the task; None for one that is not known here, whose inputs are texts.

    Raises:
        QuantbentoError: they cannot be read.
    """
    if given is None:
        return []
    fields, suffixes = (("text",), ()) if task is None else (task.fields, task.suffixes)
    if ":" in given and not Path(given).exists():
        return load_samples(Samples.model_validate({"factory": given}), fields, suffixes).inputs
    if not Path(given).exists():
        raise QuantbentoError(f"--samples {given}: no such file or folder")
    return load_samples(Samples.model_construct(path=Path(given)), fields, suffixes).inputs
