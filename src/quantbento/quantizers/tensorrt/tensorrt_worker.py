"""Writes a float32 ONNX graph in INT8, FP8 or FP16 as TensorRT reads it, with NVIDIA's Model Optimizer, on the CPU.

Runs where that is installed (`REQUIREMENTS` in `quantizer.py`) and imports nothing from quantbento. The job:

    graph           .onnx file, in a folder that may be written to
    precision       "int8", "fp8" or "fp16"
    calibration     folder of .npz files, each a batch of all inputs by name; null for none
    method          "entropy" or "max": how INT8 and FP8 scales are chosen
    exclude         names of the nodes that are left as they are
    output          the .onnx file to write; its weights may be in another file beside it

The result is empty: the file shows what was done. Its inputs and outputs have the types that they had.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "core" / "isolated"))

from worker import OnProgress, run, told_as

LARGEST_IN_ONE_FILE = 1_900_000_000  # protobuf's limit is 2 GiB
LARGEST_IN_FLOAT16 = 512.0  # Model Optimizer's own default: nodes that see larger values stay in float32


class NotForTensorRt(Exception):
    """Says in one line what cannot be done."""


def quantize(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    on_progress("load", 0, 2)
    import modelopt.onnx.quantization  # noqa: F401 - takes seconds

    on_progress("convert" if job["precision"] == "fp16" else "calibrate and quantize", 1, 2)
    with told_as(NotForTensorRt, "Model Optimizer cannot convert the graph"):
        (_cast if job["precision"] == "fp16" else _quantize)(job, [f"{re.escape(name)}$" for name in job["exclude"]])
    return {}


def _quantize(job: dict[str, Any], exclude: list[str]) -> None:
    """QuantizeLinear and DequantizeLinear around what TensorRT computes in 8 bits; the rest becomes float16."""
    from modelopt.onnx.quantization import quantize

    quantize(
        job["graph"],
        quantize_mode=job["precision"],
        calibration_data_reader=_reader(job["calibration"]),
        calibration_method=job["method"],
        calibration_eps=["cpu"],
        nodes_to_exclude=exclude,
        high_precision_dtype="fp16",
        use_external_data_format=_is_large(job["graph"]),
        output_path=job["output"],
    )


def _cast(job: dict[str, Any], exclude: list[str]) -> None:
    """Float16, but for the nodes that overflow: on calibration samples, where there are any, or by their weights."""
    import onnx
    from modelopt.onnx.autocast import convert_to_mixed_precision

    model = convert_to_mixed_precision(
        job["graph"],
        low_precision_type="fp16",
        nodes_to_exclude=exclude,
        keep_io_types=True,
        data_max=LARGEST_IN_FLOAT16 if job["calibration"] else float("inf"),
        calibration_data=job["calibration"],
        providers=["cpu"],
    )
    output = Path(job["output"])
    onnx.save(model, output, save_as_external_data=_is_large(job["graph"]), location=f"{output.name}_data")


def _reader(folder: str) -> Any:
    """The calibration batches as Model Optimizer reads them. Its own reader wants all in one array, which batches of
    texts of several lengths are not."""
    import numpy as np
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.files = sorted(Path(folder).glob("*.npz"))
            self.rewind()

        def get_next(self) -> Any:
            return next(self.left, None)

        def get_first(self) -> Any:
            return self._read(self.files[0])

        def rewind(self) -> None:
            self.left = map(self._read, self.files)

        @staticmethod
        def _read(file: Path) -> dict[str, Any]:
            with np.load(file) as arrays:
                return dict(arrays)

    return Batches()


def _is_large(graph: str) -> bool:
    """Whether a graph with its weights, also those in files beside it, is too large for one file."""
    return sum(file.stat().st_size for file in Path(graph).parent.glob("*.onnx*")) > LARGEST_IN_ONE_FILE


if __name__ == "__main__":
    run(quantize)
