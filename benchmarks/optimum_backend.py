"""sentence-transformers on its ONNX or OpenVINO backend, in a Python of its own. benchmarks/encoders.py starts it:

    pip install 'sentence-transformers[onnx,openvino]' datasets
    python benchmarks/optimum_backend.py onnx-int8 MODEL_FOLDER SCRATCH_FOLDER THREADS

A line in is a JSON list of texts. The line out has the seconds that encoding them took, and the .npy file with their
vectors. It ends when its input does. It imports nothing of this project, which needs a newer Transformers than optimum.

Everything is called as sentence-transformers' documentation does. The int8 models are made by its two functions for
that; OpenVINO's is calibrated on SCRATCH_FOLDER/calibration/train.txt, by default it would download GLUE's SST-2.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

KINDS = ("onnx", "onnx-int8", "openvino", "openvino-int8")


def load(kind: str, source: str, scratch: Path, threads: int) -> Any:
    """A model exported from the folder `source`, and quantized if the kind says so."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    backend, _, int8 = kind.partition("-")
    settings = onnx_settings(threads) if backend == "onnx" else {"ov_config": {"INFERENCE_NUM_THREADS": threads}}
    model = SentenceTransformer(source, device="cpu", backend=backend, model_kwargs={"export": True, **settings})
    if not int8:
        return model
    folder = scratch / "model"
    model.save_pretrained(str(folder))
    name = quantize_onnx(model, folder) if backend == "onnx" else quantize_openvino(model, folder)
    return SentenceTransformer(str(folder), device="cpu", backend=backend, model_kwargs={"file_name": name, **settings})


def onnx_settings(threads: int) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return {"provider": "CPUExecutionProvider", "session_options": options}


def quantize_onnx(model: Any, folder: Path) -> str:
    """Writes the model with dynamic int8 into its folder; returns the file's name."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    export_dynamic_quantized_onnx_model(model, cpu(), str(folder), file_suffix="int8")
    return "model_int8.onnx"


def quantize_openvino(model: Any, folder: Path) -> str:
    """The same with static int8."""
    from sentence_transformers import export_static_quantized_openvino_model

    export_static_quantized_openvino_model(
        model,
        None,
        str(folder),
        dataset_name=str(folder.parent / "calibration"),
        dataset_config_name="default",
        dataset_split="train",
        column_name="text",
        file_suffix="int8",
    )
    return "openvino_model_int8.xml"


def cpu() -> str:
    """Which of the configurations that sentence-transformers has for ONNX is this CPU's."""
    if platform.machine() in ("aarch64", "arm64"):
        return "arm64"
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.is_file() else []
    return "avx512_vnni" if "avx512_vnni" in flags else "avx512" if "avx512f" in flags else "avx2"


def main() -> None:
    kind, source, scratch, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    model = load(kind, source, Path(scratch), int(threads))
    import numpy as np

    for line in sys.stdin:
        texts = json.loads(line)
        start = time.perf_counter()
        vectors = model.encode(texts)
        seconds = time.perf_counter() - start
        file = Path(scratch) / "vectors.npy"
        np.save(file, vectors)
        print(json.dumps([seconds, str(file)]), file=answers, flush=True)


if __name__ == "__main__":
    main()
