"""The parser of every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """A parser that can wait, and that can leave options to somebody else.

    Attributes:
        more: adds the options that only an import can name, for which no other command should wait. It is called when
            the command is the one that was called.
        keeps_rest: arguments that the command does not know become its argument `rest`, instead of an error.
    """

    more: Callable[[argparse.ArgumentParser], None] | None = None
    keeps_rest: bool = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        more, self.more = self.more, None
        if more is not None:
            more(self)
        found, rest = super().parse_known_args(args, namespace)
        if self.keeps_rest:
            found.rest, rest = rest, []
        return found, rest


def numbers(kind: type[int] | type[float]) -> Callable[[str], list[Any]]:
    """The type of an option that takes numbers above 0 with commas between."""

    def parse(given: str) -> list[Any]:
        try:
            found = [kind(part) for part in given.split(",")]
        except ValueError:
            found = []
        if not found or not all(0 < value < float("inf") for value in found):
            raise argparse.ArgumentTypeError(f"{given!r}: allowed are numbers above 0 with commas between, as 1,8,32")
        return list(dict.fromkeys(found))

    return parse
