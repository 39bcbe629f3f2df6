"""Run as a process of its own: load an artifact, answer some inputs, print the peak resident memory.

echo '{"artifact": "...", "inputs": [...], "threads": 2}' | python -m quantbento.peak_memory
"""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path

from quantbento import artifact


def main() -> None:
    job = json.load(sys.stdin)
    predictor = artifact.load(Path(job["artifact"]), threads=job["threads"])
    predictor(job["inputs"])
    print(json.dumps({"peak_memory_bytes": _peak()}))


def _peak() -> int:
    """On Linux, ru_maxrss starts at the peak of the process that started this one; VmHWM does not."""
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return int(found.group(1)) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
