"""`make demo`: from a recipe to a served INT8 model.

1. quantize all-MiniLM-L6-v2, judge the variants and store those that pass (configs/minilm.yaml)
2. serve the ONNX one with BentoML, as `bentoml serve` does
3. ask it over HTTP how alike some sentences are
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import bentoml
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RECIPE = "configs/minilm.yaml"
PAIRS = [
    ("A chef whisks eggs and sugar.", "Beat the eggs together with the sugar."),
    ("How do I reset my password?", "I cannot get into my account."),
    ("A chef whisks eggs and sugar.", "The stock fell seven percent."),
]


def main() -> int:
    os.chdir(ROOT)
    saved = subprocess.run([sys.executable, "save_models.py", RECIPE]).returncode
    if saved != 0:
        return saved
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)]
    print(f"\n$ bentoml serve --port {port}", flush=True)
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with bentoml.SyncHTTPClient(f"http://127.0.0.1:{port}", server_ready_timeout=90) as client:
            for left, right in PAIRS:
                a, b = np.asarray(client.encode(texts=[left, right]))
                print(f"similarity {float(a @ b):5.2f}  {left} | {right}")
    finally:
        server.terminate()
        server.wait(30)
    print(
        "\nNext: `make serve`, or with another model: "
        ".venv/bin/bentoml serve --arg model=minilm-l6-v2-torch-int8\n"
        "Your own model: copy configs/minilm.yaml, then: .venv/bin/python save_models.py configs/yours.yaml"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
