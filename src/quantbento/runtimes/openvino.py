"""OpenVINO on CPU, and on Intel's GPUs.

Where several call at once, each has a stream of its own: many small chunks run faster so than one after the other on
all threads. Floats are computed in the type that the artifact names: left to itself, OpenVINO takes bfloat16 wherever
the CPU has it.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.core.devices import index_of, kind_of
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.base import ArrayRuntime, ReferenceJob

if TYPE_CHECKING:
    import openvino as ov

MODEL = "model.xml"  # its weights are in model.bin beside it
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoRuntime(ArrayRuntime):
    """`config["dtype"]` is what floats are computed in, float32 by default. `config["properties"]`, where given, are
    more of OpenVINO's properties of the device."""

    name = "openvino"
    modules = ("openvino",)
    distributions = ("openvino",)
    extra = "openvino"
    devices = ("cpu", "xpu")
    concurrent = True
    compiles_shapes = True
    reference_dtypes = {"cpu": ("bfloat16",), "xpu": ("float16",)}

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self.compiled = compiled
        self._output_names = [output.any_name for output in compiled.outputs]
        self._idle: list[ov.InferRequest] = []

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        if device != "cpu":
            return cls(_compile(folder, f"GPU.{index_of(device)}", config, {}))
        return cls.load_shared(folder, config, threads=threads, callers=1)

    @classmethod
    def load_shared(cls, folder: Path, config: dict[str, Any], *, threads: int, callers: int) -> Self:
        properties = {
            "NUM_STREAMS": callers,
            "INFERENCE_NUM_THREADS": callers * threads,
            "ENABLE_CPU_PINNING": False,  # processes beside each other would be pinned to the same cores
        }
        return cls(_compile(folder, "CPU", config, properties))

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        if kind_of(device) == "cpu":
            return None
        found = engine().Core().available_devices  # "GPU" where there is one, "GPU.0" and "GPU.1" where there are two
        names = {"GPU", "GPU.0"} if index_of(device) == 0 else {f"GPU.{index_of(device)}"}
        if names & set(found):
            return None
        return f"OpenVINO finds {', '.join(found)} here; for Intel's GPUs it needs their driver (intel-opencl-icd)"

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        if dtype == "bfloat16" and "BF16" not in engine().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return None
        save(read_onnx(job.onnx()), folder)
        return {"dtype": dtype}

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every call has a request of its own, which a later one uses again: a request holds its outputs."""
        try:
            request = self._idle.pop()
        except IndexError:  # more call at once than ever before
            request = self.compiled.create_infer_request()
        request.infer(batch, share_inputs=True)
        outputs = [request.get_output_tensor(i).data.copy() for i in range(len(self._output_names))]
        self._idle.append(request)
        return dict(zip(self._output_names, outputs, strict=True))


@cache
def engine() -> Any:
    """The `openvino` package, imported without its telemetry, which sends an event to the vendor on import.

    It fills its table of dtypes on first use. If two threads do that at once, each waits for the other for ever: one
    has Python's lock, one the table's (openvino 2026.4). So it is filled here.
    """
    # With this, importing openvino_telemetry fails; OpenVINO and NNCF then do without.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    openvino.Type.f32.to_dtype()
    openvino.Tensor(np.zeros(1, np.float32))
    return openvino


def _compile(folder: Path, device: str, config: dict[str, Any], properties: dict[str, Any]) -> ov.CompiledModel:
    openvino = engine()
    hint = {"INFERENCE_PRECISION_HINT": HINTS[config.get("dtype", "float32")]}
    try:
        return openvino.Core().compile_model(folder / MODEL, device, hint | properties | config.get("properties", {}))
    except RuntimeError as error:
        version = openvino.__version__.split("-")[0]
        raise QuantbentoError(f"OpenVINO {version} cannot load the graph: {_reason(error)}") from error


def read_onnx(path: Path) -> ov.Model:
    """An ONNX file as OpenVINO's graph.

    Raises:
        QuantbentoError: it is no ONNX file, or OpenVINO does not know one of its operators.
    """
    openvino = engine()
    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        version = openvino.__version__.split("-")[0]
        raise QuantbentoError(
            f"OpenVINO {version} cannot read the ONNX graph: {_reason(error)}; use a quantizer for another "
            "runtime, such as onnx-dynamic"
        ) from error


def save(model: ov.Model, folder: Path) -> None:
    """Writes a graph into an artifact folder, its weights in the types they have."""
    engine().save_model(model, folder / MODEL, compress_to_fp16=False)


def _reason(error: RuntimeError) -> str:
    """The last line of OpenVINO's message; those before it are places in its source."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].lstrip("- ").rstrip(". ") if lines else type(error).__name__
