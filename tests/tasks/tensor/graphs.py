"""ONNX files of any type for tests: `tests.jobs.onnx_file` knows float32 only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def typed_graph(
    path: Path,
    nodes: list[tuple],
    inputs: dict[str, tuple[str, list | None]],
    outputs: dict[str, tuple[str, list | None]],
    weights: dict[str, np.ndarray] | None = None,
) -> Path:
    """Writes a graph; `nodes` are (operator, inputs, outputs) or (operator, inputs, outputs, attributes), inputs and
    outputs are (type, shape), the type by NumPy's name or "text"."""
    import onnx
    from onnx import helper, numpy_helper

    def value(name: str, kind: str, shape: list | None) -> Any:
        number = onnx.TensorProto.STRING if kind == "text" else _number(kind)
        return helper.make_tensor_value_info(name, number, shape)

    graph = helper.make_graph(
        [helper.make_node(n[0], n[1], n[2], **(n[3] if len(n) > 3 else {})) for n in nodes],
        "graph",
        [value(name, *what) for name, what in inputs.items()],
        [value(name, *what) for name, what in outputs.items()],
        [numpy_helper.from_array(w, name) for name, w in (weights or {}).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def _number(kind: str) -> int:
    from onnx import TensorProto, helper

    return TensorProto.BFLOAT16 if kind == "bfloat16" else helper.np_dtype_to_tensor_dtype(np.dtype(kind))
