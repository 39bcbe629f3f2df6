"""What every worker script begins and ends with. Imports the standard library only."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

OnProgress = Callable[[str, int, int], None]  # stage, done, total


def run(work: Callable[[dict[str, Any], OnProgress], dict[str, Any]]) -> None:
    """Does the job whose file is named on the command line, and writes what this package's docstring says."""
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


def _channel() -> Callable[[dict[str, Any]], None]:
    """Writes to what was stdout; what libraries print goes to stderr from now on."""
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
