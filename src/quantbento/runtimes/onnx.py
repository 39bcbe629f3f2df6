"""ONNX Runtime on CPU.

Many small chunks run faster one thread each than one after the other on all threads (787 against 622 short
texts a second on two cores), so a task that runs in chunks gets a session of one thread that several callers
share. A busy-waiting thread pool would take the cores from the web server, so it is told not to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.runtimes.base import ArrayRuntime

if TYPE_CHECKING:
    import onnxruntime as ort

MODEL = "model.onnx"


class OnnxRuntime(ArrayRuntime):
    name = "onnx"

    def __init__(self, session: ort.InferenceSession, output_names: list[str], concurrent: bool) -> None:
        self._session, self._output_names, self.concurrent = session, output_names, concurrent

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, concurrent: bool) -> Self:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1 if concurrent else threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; shape warnings of a dynamic graph help nobody
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        return cls(session, [o.name for o in session.get_outputs()], concurrent)

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._output_names, self._session.run(None, batch), strict=True))
