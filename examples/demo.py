"""`make demo`: from a recipe to a served INT8 model.

1. quantize all-MiniLM-L6-v2, judge the variants and store those that pass (configs/minilm.yaml)
2. serve the ONNX one with BentoML, as `quantbento serve` does
3. ask it over HTTP how alike some sentences are
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import bentoml
import numpy as np

from examples.server import bento, serve

RECIPE, MODEL = "configs/minilm.yaml", "minilm-l6-v2-onnx-int8"
PAIRS = [
    ("A chef whisks eggs and sugar.", "Beat the eggs together with the sugar."),
    ("How do I reset my password?", "I cannot get into my account."),
    ("A chef whisks eggs and sugar.", "The stock fell seven percent."),
]


def main() -> int:
    saved = subprocess.run([sys.executable, "save_models.py", RECIPE]).returncode
    if saved != 0:
        return saved
    print(f"\n$ quantbento serve {MODEL}", flush=True)
    with (
        tempfile.TemporaryDirectory() as logs,
        serve(bento(), {"QUANTBENTO_MODEL": MODEL}, Path(logs) / "server.log") as server,
        bentoml.SyncHTTPClient(server.url) as client,
    ):
        for left, right in PAIRS:
            a, b = np.asarray(client.encode(texts=[left, right]))
            print(f"similarity {float(a @ b):5.2f}  {left} | {right}")
    print(
        f"\nNext: .venv/bin/quantbento serve {MODEL}, or build {MODEL}\n"
        "Your own model: copy configs/minilm.yaml, then: .venv/bin/python save_models.py configs/yours.yaml"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
