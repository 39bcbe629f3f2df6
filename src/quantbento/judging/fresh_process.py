"""Runs as a separate process: loads an artifact, answers some inputs, prints how long loading took, in seconds, and the
peak resident memory, in bytes.

Standard input is a pickled mapping: `artifact` (a folder), `inputs`, `threads`, `device`. Inputs may be
files or images.
"""

from __future__ import annotations

import json
import pickle
import sys
import time

from quantbento.core.machine import peak_memory_bytes
from quantbento.runtimes import artifact


def main() -> None:
    job = pickle.load(sys.stdin.buffer)
    start = time.perf_counter()
    predictor = artifact.load(job["artifact"], threads=job["threads"], device=job["device"])
    seconds = time.perf_counter() - start
    predictor.work(job["inputs"])
    own = predictor.runtime.peak_memory_bytes()  # of an engine that has a process of its own
    print(json.dumps({"load_seconds": seconds, "peak_memory_bytes": peak_memory_bytes() if own is None else own}))


if __name__ == "__main__":
    main()
