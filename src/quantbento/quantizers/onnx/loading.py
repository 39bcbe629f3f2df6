"""ONNX Runtime's own view of a graph: what it makes of it when it loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, summary


def session(path: Path, optimized: Path | None = None, basic: bool = False) -> Any:
    """The graph in ONNX Runtime. `optimized` is where what it made of it is written, `basic` without operators of its
    own."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if basic else levels.ORT_ENABLE_EXTENDED
    if optimized:
        options.optimized_model_filepath = str(optimized)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{optimized.name}.data"
        )
    kept_apart = ["MatMulAddFusion"] if basic else []  # a Gemm would have to be taken apart again
    try:
        return ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=kept_apart
        )
    except Exception as error:  # its errors share no base class
        raise QuantbentoError(f"ONNX Runtime cannot load the graph: {summary(error)}") from error
