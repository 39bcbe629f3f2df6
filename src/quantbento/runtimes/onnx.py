"""ONNX Runtime on CPU, and on NVIDIA GPUs where its build for them is installed.

Many small chunks run faster with one thread each than one after the other on all threads (787 against 622 short
texts per second on two cores). So a task that runs in chunks gets a session with one thread, which several callers
share. A busy-waiting thread pool would take the cores from the web server, so spinning is off.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.core.devices import index_of, kind_of
from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.runtimes.base import ArrayRuntime, ReferenceJob

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort

MODEL = "model.onnx"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
GPU_BUILD = "pip uninstall -y onnxruntime && pip install 'quantbento[onnx-gpu]'"  # both bring one module


class OnnxRuntime(ArrayRuntime):
    name = "onnx"
    modules = ("onnxruntime",)
    distributions = ("onnxruntime", "onnxruntime-gpu")
    extra = "onnx"
    devices = ("cpu", "cuda")
    gpu_distribution = "onnxruntime-gpu"
    runs = ("onnx",)
    concurrent = True

    def __init__(self, session: ort.InferenceSession, output_names: list[str]) -> None:
        self._session, self._output_names = session, output_names

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only; shape warnings about a dynamic graph help nobody
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(folder / MODEL), options, providers=_providers(device))
        except Exception as error:  # its errors share no base class
            raise QuantbentoError(f"ONNX Runtime {ort.__version__} cannot load the graph: {_reason(error)}") from error
        if device != "cpu" and CUDA not in session.get_providers():  # it goes on with the CPU, and says so in a log
            raise QuantbentoError(
                f"ONNX Runtime {ort.__version__} could not start on {device}: its libraries for CUDA did not load. "
                f"Install those that belong to it: {GPU_BUILD}"
            )
        return cls(session, [o.name for o in session.get_outputs()])

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        if kind_of(device) != "cuda":
            return None
        import onnxruntime as ort

        if CUDA in ort.get_available_providers():
            return None
        return f"ONNX Runtime {ort.__version__} is the build for CPUs here; run: {GPU_BUILD}"

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        model = job.onnx()
        shutil.copyfile(model, folder / MODEL)
        for file in external_data(model):  # the graph names them by their place beside it
            copy = folder / file.relative_to(model.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        return {}

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._output_names, self._session.run(None, batch), strict=True))


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return [CPU]
    import onnxruntime as ort

    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # those of CUDA that came as packages
    return [(CUDA, {"device_id": index_of(device)}), CPU]


def external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its weights; empty where it holds them itself.

    Raises:
        QuantbentoError: it is not an ONNX file, or a file beside it is missing.
    """
    return without_external_data(path)[1]


def without_external_data(path: Path) -> tuple[onnx.ModelProto, list[Path]]:
    """The model of an ONNX file as it is, and what `external_data` gives; raises as that does."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors share no base class
        raise QuantbentoError(f"{path} is not an ONNX file: {summary(error)}") from None
    if not model.graph.output:  # an empty file is read as an empty graph
        raise QuantbentoError(f"{path} is not an ONNX file: it holds no graph with an output")
    tensors = [tensor for graph in graphs(model.graph) for tensor in _tensors(graph)]
    names = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    if outside := [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise QuantbentoError(f"{path} keeps weights in {one_of(sorted(outside))}, which is not below its folder")
    files = sorted(path.parent / name for name in names)
    if missing := [file.name for file in files if not file.is_file()]:
        raise QuantbentoError(f"{path} keeps weights in {one_of(missing)}, which must lie beside it, and does not")
    return model, files


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and those inside its nodes: the branches of an If, the body of a Loop."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node or inner.output:
                    yield from graphs(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The weights of a graph: initializers, and those in `Constant` nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its code and the path, which say nothing to a reader."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^(\[ONNXRuntimeError\] : \d+ : \w+ : )?(Load model from \S+ failed:)?", "", lines[0]).rstrip(".")
