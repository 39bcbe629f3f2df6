"""How a run shows what it is doing: one bar per stage on a terminal, one line per stage elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int, int], None]  # (done, total)


class Progress(Protocol):
    def stage(self, name: str) -> AbstractContextManager[Advance]:
        """A context that lasts one stage. It yields a function to call with (done, total) where the stage can count."""

    def say(self, text: str) -> None:
        """Shows one line that stays."""


class Silent:
    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        yield lambda done, total: None

    def say(self, text: str) -> None:
        pass


class Lines:
    """For logs: one line per stage when it ends, with its seconds."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        start = time.perf_counter()
        yield lambda done, total: None
        self.say(f"{name}  {time.perf_counter() - start:.1f} s")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bars:
    """For a terminal: a moving bar for the stage under way."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        start = time.perf_counter()
        with RichProgress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(name, total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)
        self.say(f"{name}  {time.perf_counter() - start:.1f} s")

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)


def for_stream() -> Progress:
    return Bars() if sys.stderr.isatty() else Lines()
