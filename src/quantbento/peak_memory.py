"""Run as a process of its own: load an artifact, answer some inputs, print the peak resident memory.

echo '{"artifact": "...", "inputs": [...], "threads": 2}' | python -m quantbento.peak_memory
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from quantbento import artifact


def main() -> None:
    job = json.load(sys.stdin)
    predictor = artifact.load(Path(job["artifact"]), threads=job["threads"])
    predictor(job["inputs"])
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"peak_memory_bytes": peak}))


if __name__ == "__main__":
    main()
