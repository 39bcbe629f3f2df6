"""The steps of a run, as progress shows them, with a memory of those that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from quantbento.core.progress import Advance, Progress
from quantbento.judging import benchmark


class Steps:
    """Shows progress, and remembers which steps raised."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._failed = progress, list[str]()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        try:
            with self._progress.stage(name) as advance:
                yield advance
        except Exception:
            self._failed.append(name)
            raise

    def say(self, text: str) -> None:
        if benchmark.BUSY not in text:  # nobody reads timings of a rehearsal
            self._progress.say(text)

    @property
    def failed(self) -> str | None:
        """The last step that raised."""
        return self._failed[-1] if self._failed else None

    def failed_of(self, variant: str) -> str:
        """The step that raised for a variant."""
        return next((name for name in self._failed if name.startswith(f"{variant}: ")), f"{variant}: full precision")
