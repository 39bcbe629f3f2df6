"""`module:function` in a recipe: the user's own Python code, or an installed package's."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from quantbento.core.errors import QuantbentoError, did_you_mean

PATTERN = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class UserCode(str):
    """The type of a field that holds `module:name`, in a recipe, a task's options or a quantizer's options.

    `named_in` finds what such fields name, so that its source becomes part of a variant's fingerprint.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(pattern=PATTERN))


def named_in(value: Any) -> list[UserCode]:
    """Every `UserCode` in a value, however deep: a pydantic model, a mapping, a list."""
    if isinstance(value, UserCode):
        return [value]
    if hasattr(type(value), "model_fields"):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return [found for member in value for found in named_in(member)]
    return []


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


def call(reference: str, **arguments: Any) -> Any:
    """What the function returns for these arguments. If it fails, the error names the reference."""
    function = resolve(reference)
    if not callable(function):
        raise QuantbentoError(f"{reference!r} is a {type(function).__name__}, not a function")
    with _importable_here():
        try:
            return function(**arguments)
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
        except Exception as error:  # find_spec imports the package that holds the module
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
