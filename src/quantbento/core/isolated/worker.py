"""What every worker script starts with. Imports the standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OnProgress = Callable[[str, int, int], None]  # stage, done, total


def run(work: Callable[[dict[str, Any], OnProgress], dict[str, Any]]) -> None:
    """Does the job in the file named on the command line, and writes the messages that this package's docstring
    lists."""
    write = _channel()
    _end_with_parent()
    try:
        job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        write({"result": work(job, lambda *at: write(dict(zip(("stage", "done", "total"), at, strict=True))))})
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        write({"error": f"{type(error).__name__}: {lines[0]}"})
        sys.exit(1)


@contextlib.contextmanager
def told_as(kind: type[Exception], what: str, instead: str = "") -> Iterator[None]:
    """An error inside the block becomes one of this kind, in one line: what failed, why, and what to do instead."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise kind(f"{what}: {reason}{instead}") from error


def _channel() -> Callable[[dict[str, Any]], None]:
    """A function that writes to what was stdout. What libraries print goes to stderr from now on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    return write


def _end_with_parent() -> None:
    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
