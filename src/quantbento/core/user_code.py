"""`module:function` in a recipe: a Python function of the user's, or of an installed package."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, did_you_mean


def resolve(reference: str) -> Any:
    """The object a reference names. The folder the command runs in is importable, as under `python`.

    Raises:
        QuantbentoError: no such module or name, or the module fails to import.
    """
    module_name, _, attribute = reference.partition(":")
    with _importable_here():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise QuantbentoError(
                f"{reference!r}: no module named {error.name!r}; run from the folder that holds it, or install it"
            ) from error
        except Exception as error:
            raise QuantbentoError(f"{reference!r}: importing {module_name} failed: {error!r}") from error
    if not hasattr(module, attribute):
        raise QuantbentoError(
            f"{reference!r}: {module_name} has no {attribute!r}{did_you_mean(attribute, dir(module))}"
        )
    return getattr(module, attribute)


def call(reference: str) -> Any:
    """What the function gives; its failure is reported with the reference that named it."""
    function = resolve(reference)
    if not callable(function):
        raise QuantbentoError(f"{reference!r} is a {type(function).__name__}, not a function")
    with _importable_here():
        try:
            return function()
        except QuantbentoError:
            raise
        except Exception as error:
            raise QuantbentoError(f"{reference!r} failed: {type(error).__name__}: {error}") from error


def identity(reference: str) -> dict[str, str]:
    """The reference with the hash of its module's source, without importing the module."""
    module_name = reference.partition(":")[0]
    with _importable_here():
        try:
            spec = importlib.util.find_spec(module_name)
        except (ModuleNotFoundError, ValueError):
            spec = None
        except Exception as error:  # a package is imported to look inside it
            raise QuantbentoError(f"{reference!r}: importing {module_name} failed: {error!r}") from error
    if spec is None or not spec.origin:
        raise QuantbentoError(
            f"{reference!r}: no module named {module_name!r}; run from the folder that holds it, or install it"
        )
    origin = Path(spec.origin)
    digest = hashlib.sha256(origin.read_bytes()).hexdigest() if origin.is_file() else "built-in"
    return {"factory": reference, "sha256": digest}


@contextlib.contextmanager
def _importable_here() -> Iterator[None]:
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
