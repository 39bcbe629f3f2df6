"""Errors a user can act on: each names the value, what is allowed and the next step.

Any other exception is a bug in quantbento and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QuantbentoError(Exception):
    """A mistake in what quantbento was given, or something outside it that failed. Exit code 2."""


class FileProblems(QuantbentoError):
    """A file that a user writes cannot be used; lists every problem that was found."""

    def __init__(self, problems: Iterable[str], where: str) -> None:
        self.problems = list(problems)
        count = f"{len(self.problems)} problem" + "s" * (len(self.problems) != 1)
        super().__init__("\n".join([f"{count} in {where}:", *(f"  - {p}" for p in self.problems)]))


class RecipeError(FileProblems):
    """The recipe cannot be used; lists every problem that was found."""

    def __init__(self, problems: Iterable[str], where: str = "the recipe") -> None:
        super().__init__(problems, where)


class StoreError(QuantbentoError):
    """A stored model is missing, damaged, or cannot be written."""


class InvalidInput(QuantbentoError, ValueError):
    """An input a model cannot take. `index` is its position in the list of inputs, if there was a list."""

    def __init__(self, message: str, index: int | None = None) -> None:
        self.message, self.index = message, index
        super().__init__(message if index is None else f"item {index}: {message}")


def summary(error: BaseException) -> str:
    """Another library's error on one line, without a full stop. An error without a message gives its type alone."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest allowed value, or an empty string."""
    near = difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def one_of(values: Iterable[str]) -> str:
    """`"'a', 'b' or 'c'"`, for a message that says what is allowed."""
    quoted = [repr(v) for v in values] or ["nothing"]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
