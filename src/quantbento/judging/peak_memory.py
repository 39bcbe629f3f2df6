"""Run as a process of its own: load an artifact, answer some inputs, print the peak resident memory.

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
