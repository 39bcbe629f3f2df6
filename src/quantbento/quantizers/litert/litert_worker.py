"""Writes a `torch.export` program as a quantized LiteRT file, with litert-torch and AI Edge Quantizer.

Runs where these are installed (`REQUIREMENTS` in `quantizer.py`) and imports nothing from quantbento. The job:

    program         .pt2 file; it holds an example of its inputs, which it takes by keyword
    calibration     folder with an .npy file for each input: its items, each in the shape that the program takes; null
                    for none
    method          "static_wi8_ai8" or "dynamic_wi8_afp32", as AI Edge Quantizer calls its recipes
    output          the .tflite file to write

The result is empty: the file shows what was done. Its inputs have the program's names, its outputs are output_0, ...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "core" / "isolated"))

from worker import OnProgress, run, told_as

INSTEAD = "; use a quantizer for another runtime, such as onnx-static"


class NotForLiteRt(Exception):
    """Says in one line what cannot be done."""


def quantize(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    from ai_edge_quantizer import quantizer, recipe

    on_progress("convert", 0, 3)
    output = Path(job["output"])
    floats = output.with_name("float.tflite")
    with told_as(NotForLiteRt, "litert-torch cannot convert the model", INSTEAD):
        _convert(job["program"], floats)
    with told_as(NotForLiteRt, "AI Edge Quantizer cannot quantize the model", INSTEAD):
        method = getattr(recipe, job["method"])()
        quantization = quantizer.Quantizer(str(floats), method)
        ranges = None
        if quantization.need_calibration:
            on_progress("calibrate", 1, 3)
            ranges = _ranges(floats, method, _items(floats, job["calibration"]))
        on_progress("quantize", 2, 3)
        made = quantization.quantize(ranges, enable_progress_report=False)
    output.write_bytes(made.quantized_model)
    floats.unlink()
    return {}


def _convert(program: str, path: Path) -> None:
    import litert_torch
    import torch

    exported = torch.export.load(program)
    _, inputs = exported.example_inputs
    litert_torch.convert(exported.module(), sample_kwargs=inputs).export(str(path))


def _ranges(model: Path, method: Any, items: list[dict[str, Any]]) -> Any:
    """The least and the largest value of each tensor in all items. `Quantizer.calibrate` takes moving averages of the
    items' own, which for one value an item is its mean: nearly all would be cut."""
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(method)
    calibration = calibrator.Calibrator(
        str(model), num_threads=os.cpu_count() or 1, qsv_update_func=qsv_utils.min_max_update
    )
    calibration.calibrate({"serving_default": items}, manager)
    return calibration.get_model_qsvs()


def _items(model: Path, folder: str) -> list[dict[str, Any]]:
    """Calibration items in the types that the file takes: int64 becomes int32 in it."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    wanted = Interpreter(str(model)).get_signature_runner().get_input_details()
    files = {path.stem: path for path in Path(folder).glob("*.npy")}
    arrays = {name: np.load(files[name]).astype(tensor["dtype"]) for name, tensor in wanted.items()}
    return [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]


if __name__ == "__main__":
    run(quantize)
