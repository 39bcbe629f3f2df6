"""ONNX Runtime on CPU.

Many small chunks run faster with one thread each than one after the other on all threads (787 against 622 short
texts per second on two cores). So a task that runs in chunks gets a session with one thread, which several callers
share. A busy-waiting thread pool would take the cores from the web server, so spinning is off.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes.base import ArrayRuntime, ReferenceJob

if TYPE_CHECKING:
    import onnxruntime as ort

MODEL = "model.onnx"


class OnnxRuntime(ArrayRuntime):
    name = "onnx"
    modules = ("onnxruntime", "tokenizers")
    distributions = ("onnxruntime", "tokenizers")
    extra = "onnx"
    runs = ("onnx",)
    concurrent = True

    def __init__(self, session: ort.InferenceSession, output_names: list[str]) -> None:
        self._session, self._output_names = session, output_names

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int) -> Self:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only; shape warnings about a dynamic graph help nobody
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        return cls(session, [o.name for o in session.get_outputs()])

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        import onnx

        model = job.onnx()
        if external_data(model):
            # The graph names the weights file beside it, so a copy under another name would not find it.
            onnx.save(onnx.load(model), folder / MODEL, save_as_external_data=True, location=f"{MODEL}.data")
        else:
            shutil.copyfile(model, folder / MODEL)
        return {}

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._output_names, self._session.run(None, batch), strict=True))


def external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its weights; empty where it holds them itself.

    Raises:
        QuantbentoError: it is not an ONNX file.
    """
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except Exception as error:  # protobuf's errors share no base class
        raise QuantbentoError(f"{path} is not an ONNX file: {summary(error)}") from None
    names = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    return sorted(path.parent / name for name in names)
