"""A YAML file that remembers the line of each value, so that an error can name it."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from quantbento.core.errors import RecipeError, did_you_mean, one_of

Loc = tuple[str | int, ...]


class Problem(NamedTuple):
    """What is wrong, and where: `loc` holds the keys and indices that lead to the value. `label`, where given, is what
    the message calls that place instead. `installs` is what pip has to install."""

    loc: Loc
    message: str
    label: str | None = None
    installs: str | None = None


class Document:
    """The data of a YAML mapping with the place of every value. Relative paths start at `folder`."""

    def __init__(self, data: dict[str, Any], name: str, folder: Path, root: yaml.Node | None = None) -> None:
        self.data, self.name, self.folder, self._root = data, name, folder, root

    @classmethod
    def of(cls, source: str | Path | dict[str, Any]) -> Document:
        """Reads a file, or takes a mapping as it is.

        Raises:
            RecipeError: the file is missing, is not YAML, or is not a mapping.
        """
        if isinstance(source, dict):
            return cls(source, "the recipe", Path.cwd())
        path = Path(source)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RecipeError([f"no such file{_nearby(path)}"], str(source)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError([f"cannot be read: {error}"], str(source)) from None
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
            mark = getattr(error, "problem_mark", None)
            line = f"line {mark.line + 1}: " if mark else ""
            what = getattr(error, "problem", None) or str(error)
            raise RecipeError([f"{line}not valid YAML: {what}"], str(source)) from None
        if not isinstance(data, dict):
            raise RecipeError([f"must be a mapping of keys to values, not {type(data).__name__}"], str(source))
        return cls(data, str(source), path.resolve().parent, root)

    def lines(self, problems: Sequence[Problem]) -> list[str]:
        """Problems as text, in the order of the file: `line 7: variants[0].quantizer: ...`. Repeated keys are
        included, although the parsed data no longer shows them."""
        located = [(self._line(p.loc), dotted(p.loc) if p.label is None else p.label, p.message) for p in problems]
        located += [(line, "", f"the key {key!r} is there twice") for key, line in _twice(self._root)]
        located.sort(key=lambda p: p[0] or 0)
        return [": ".join(filter(None, (f"line {line}" if line else "", where, text))) for line, where, text in located]

    def _line(self, loc: Loc) -> int | None:
        """The line of a value, or of the nearest place around it if the value is missing."""
        node, line = self._root, 1
        if node is None:
            return None
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                for key, value in reversed(node.value):  # YAML keeps the last of a repeated key
                    if key.value == str(part):
                        node, line = value, key.start_mark.line + 1
                        break
                else:
                    return line
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                return line
        return line


def describe_errors(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Pydantic's errors, each with a message a user can act on."""
    described = []
    for e in error.errors():
        loc, value = e["loc"], e.get("input")
        if e["type"] == "extra_forbidden":
            allowed = [k for k in _fields_at(model, loc[:-1]) if k.islower()]
            hint = did_you_mean(str(loc[-1]), allowed) or f" (allowed: {one_of(allowed)})"
            message = f"unknown key{hint}"
        elif e["type"] == "missing":
            message = "is required"
        elif e["type"] == "value_error":
            message = str(e["ctx"]["error"])
        else:
            text = e["msg"][0].lower() + e["msg"][1:]
            message = f"{text}, not {value!r}" if isinstance(value, str | int | float | bool | None) else text
        described.append(Problem(loc, message))
    return described


def dotted(loc: Loc) -> str:
    """`('variants', 0, 'name')` as `variants[0].name`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    annotation: Any = model
    for part in loc:
        annotation = _plain(annotation)
        if isinstance(part, str) and hasattr(annotation, "model_fields"):
            annotation = annotation.model_fields[part].annotation
        else:  # an index into list[X] or a key of dict[str, X]
            annotation = typing.get_args(annotation)[-1]
    return list(getattr(_plain(annotation), "model_fields", ()))


def _plain(annotation: Any) -> Any:
    """`X` for `X | None` and for `Annotated[X, ...]`."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _plain(next(a for a in typing.get_args(annotation) if a is not type(None)))
    return _plain(typing.get_args(annotation)[0]) if origin is typing.Annotated else annotation


def _twice(node: yaml.Node | None) -> list[tuple[str, int]]:
    """Keys that a mapping holds twice. YAML would silently keep the last."""
    found: list[tuple[str, int]] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                found.append((key.value, key.start_mark.line + 1))
            seen.add(key.value)
            found += _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found += _twice(item)
    return found


def _nearby(path: Path) -> str:
    folder = path.parent
    names = [str(folder / p.name) for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    return did_you_mean(str(path), names)
