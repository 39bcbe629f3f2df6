"""A recipe as YAML that people read: keys in their usual order, comments beside what was decided and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

WIDTH = 118
Place = tuple[str, ...]  # of a value: its key, or its key and the key within


def render(
    recipe: Mapping[str, Any], comments: Mapping[Place, str], before: Iterable[str] = (), after: Iterable[str] = ()
) -> str:
    """The text of a recipe.

    Args:
        recipe: what it says.
        comments: by place, what stands behind a value, or above it where it is long.
        before, after: comments at the top and at the end, a line or more each.
    """
    lines = [line for text in before for line in _comment(text)]
    for key, value in recipe.items():
        told = comments.get((key,), "")
        if isinstance(value, list):
            lines += [*_comment(told), f"{key}:"]
            lines += [line for item in value for line in _item(item)]
        elif isinstance(value, dict) and key != "task_options":
            lines += [*_comment(told), f"{key}:"]
            for name, inner in value.items():
                lines += _line(f"  {name}", inner, comments.get((key, name), ""))
        else:
            lines += _line(key, value, told)
    lines += [line for text in after for line in _comment(text)]
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value on one line, quoted where YAML needs it."""
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return text.strip()[1:-1]


def _item(item: Mapping[str, Any]) -> list[str]:
    return [f"{'    ' if index else '  - '}{key}: {flow(value)}" for index, (key, value) in enumerate(item.items())]


def _line(key: str, value: Any, comment: str) -> list[str]:
    line = f"{key}: {flow(value)}"
    if not comment:
        return [line]
    beside = f"{line}  # {comment}"
    indent = " " * (len(key) - len(key.lstrip()))
    return [beside] if len(beside) <= WIDTH else [*_comment(comment, indent), line]


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ") if text else []
