"""ONNX Runtime's own view of a graph: what it makes of it when it loads it."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs.onnx_export import LARGEST_IN_ONE_FILE

if TYPE_CHECKING:
    import onnx

TIMED_RUNS = 3
KERNEL = "_kernel_time"  # ends the names of a profile's events that are the work of a node


def node_times(model: Path, batch: dict[str, Any]) -> dict[str, float]:
    """How long each node of a file takes for a batch, in microseconds, by its name: the smallest of a few runs."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # nodes keep their names
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        loaded = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for _ in range(TIMED_RUNS):
            loaded.run(None, batch)
        events = json.loads(Path(loaded.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, float] = {}
    for event in events:
        name = event["name"].removesuffix(KERNEL)
        if event["cat"] == "Node" and event["name"].endswith(KERNEL):
            times[name] = min(times.get(name, math.inf), float(event["dur"]))
    return times


def session(model: Path | onnx.ModelProto, optimized: Path | None = None, basic: bool = False) -> Any:
    """A file or a graph in ONNX Runtime.

    Args:
        optimized: where what it made of it is written.
        basic: without operators of its own.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if basic else levels.ORT_ENABLE_EXTENDED
    if optimized:
        options.optimized_model_filepath = str(optimized)
        weights = f"{optimized.name}.data"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    settings = {
        "providers": ["CPUExecutionProvider"],
        "disabled_optimizers": ["MatMulAddFusion"] if basic else [],  # a Gemm would have to be taken apart again
    }
    try:
        if isinstance(model, Path):
            return ort.InferenceSession(str(model), options, **settings)
        if model.ByteSize() < LARGEST_IN_ONE_FILE:
            return ort.InferenceSession(model.SerializeToString(), options, **settings)
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(model, path, save_as_external_data=True, location="model.data")
            return ort.InferenceSession(str(path), options, **settings)
    except Exception as error:  # its errors share no base class
        raise QuantbentoError(f"ONNX Runtime cannot load the graph: {summary(error)}") from error
