"""Runs as a separate process: loads an artifact, answers some inputs, prints the peak resident memory.

echo '{"artifact": "...", "inputs": [...], "threads": 2}' | python -m quantbento.judging.peak_memory
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from quantbento.core.machine import peak_memory_bytes
from quantbento.runtimes import artifact


def main() -> None:
    job = json.load(sys.stdin)
    predictor = artifact.load(Path(job["artifact"]), threads=job["threads"])
    predictor.work(job["inputs"])
    print(json.dumps({"peak_memory_bytes": peak_memory_bytes()}))


if __name__ == "__main__":
    main()
