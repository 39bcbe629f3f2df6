"""TensorRT on NVIDIA's GPUs. The artifact holds an ONNX file, which is compiled for the GPU when it is loaded.

No GPU has run this yet: tests check what the engine is asked for, with a stand-in that computes on the CPU.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np

from quantbento.core.devices import torch_problem
from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.runtimes.base import ArrayRuntime, ReferenceJob
from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from quantbento.runtimes.tensorrt_engine import engine
from quantbento.runtimes.tensorrt_profile import Profile, check, profile

TYPES = {  # TensorRT's names of types, and PyTorch's
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


class TensorRtRuntime(ArrayRuntime):
    """`config["profile"]` has the least, the usual and the largest shape of each input. Half precision comes back as
    float32."""

    name = "tensorrt"
    modules = ("tensorrt", "torch")
    distributions = ("tensorrt", "torch")
    extra = "tensorrt"
    devices = ("cuda",)
    gpu_distribution = "tensorrt"
    start_seconds = 900  # an engine is compiled at the first start

    def __init__(self, built: Any, sizes: Profile, device: str) -> None:
        import tensorrt
        import torch

        self.device, self._sizes = device, sizes
        names = [built.get_tensor_name(i) for i in range(built.num_io_tensors)]
        inputs = [name for name in names if built.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        if shapes := [name for name in inputs if built.is_shape_inference_io(name)]:
            raise QuantbentoError(f"{one_of(shapes)} decides about shapes, which TensorRT reads elsewhere; use onnx")
        types = {name: getattr(torch, TYPES[built.get_tensor_dtype(name).name]) for name in names}
        self._inputs = {name: types.pop(name) for name in inputs}
        self._outputs = types
        self._engine = built  # lives as long as its context
        self._context = built.create_execution_context()
        if self._context is None:
            raise QuantbentoError("TensorRT cannot run the engine: most often, the GPU's memory does not suffice")
        self._stream = torch.cuda.Stream(device)
        self._one_at_a_time = Lock()  # a context has one set of addresses

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cuda") -> Self:
        import torch

        with torch.cuda.device(device):  # TensorRT builds for the current one
            built = engine(folder / MODEL, config["profile"], torch.cuda.get_device_name(device))
            return cls(built, config["profile"], device)

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        if problem := torch_problem(device):
            return problem
        try:
            import tensorrt  # noqa: F401
        except (ImportError, OSError) as error:  # its libraries
            return f"TensorRT cannot be imported ({summary(error)}); run: pip install 'quantbento[tensorrt]'"
        return None

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        if dtype != "float32":
            return None
        OnnxRuntime.write_reference(job, folder, dtype)
        return {"profile": profile(folder / MODEL, job.task, job.calibration or [])}

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        import torch

        for name in self._inputs:  # an engine has no input that its model does not use
            check(self._sizes, name, batch[name].shape)
        with self._one_at_a_time, torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            # Tensors stay named until all is computed: the engine only knows their addresses.
            given = {name: self._tensor(batch[name], dtype) for name, dtype in self._inputs.items()}
            for name, tensor in given.items():
                self._context.set_input_shape(name, tuple(tensor.shape))
                self._context.set_tensor_address(name, tensor.data_ptr())
            made = {name: self._empty(name, dtype) for name, dtype in self._outputs.items()}
            for name, tensor in made.items():
                self._context.set_tensor_address(name, tensor.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise QuantbentoError("TensorRT could not run the engine; its log says why")
            self._stream.synchronize()
            half = (torch.float16, torch.bfloat16)
            return {n: (t.float() if t.dtype in half else t).cpu().numpy() for n, t in made.items()}

    def _tensor(self, value: np.ndarray, dtype: Any) -> Any:
        """An array on the GPU, in the engine's type and in one piece."""
        import torch

        whole = torch.from_numpy(np.require(value, requirements=("C", "W")))
        return whole.to(self.device, dtype).contiguous()

    def _empty(self, name: str, dtype: Any) -> Any:
        """Room for an output."""
        import torch

        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise QuantbentoError(f"the shape of {name!r} depends on values, not on shapes alone; use onnx")
        return torch.empty(shape, dtype=dtype, device=self.device)
