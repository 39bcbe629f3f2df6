"""How soon BentoML notices that a worker has died: it looks every 10 s, and until then one worker less answers."""

from __future__ import annotations

from typing import Any

from bentoml._internal.utils import circus

SECONDS = 0.5
_start = circus.Arbiter.__init__


def _look_often(self: Any, *arguments: Any, **named: Any) -> None:
    _start(self, *arguments, **{**named, "check_delay": SECONDS})


def install() -> None:
    """For the workers that this process starts from now on."""
    circus.Arbiter.__init__ = _look_often  # type: ignore[method-assign]
