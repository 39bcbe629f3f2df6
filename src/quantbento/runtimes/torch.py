"""PyTorch modules, TorchScript and `torch.export` programs, on CPU and on NVIDIA GPUs."""

from __future__ import annotations

import contextlib
import copy
import importlib
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.core.devices import torch_problem
from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes.base import ArrayRuntime, ReferenceJob
from quantbento.runtimes.module_files import MODEL, program_of, read, save
from quantbento.tasks.outputs import named_outputs

if TYPE_CHECKING:
    import torch

COMPILED = "compiled when it is loaded: the first answers take about a minute"  # a note on such an artifact
__all__ = ["COMPILED", "MODEL", "TorchRuntime", "compiler_problem", "packing_for", "save"]


class TorchRuntime(ArrayRuntime):
    """The module and its float inputs are cast to `config["dtype"]`, where given. Half precision comes back as float32;
    outputs of other types stay what they are. With `config["compile"]` it is compiled at the first call; with
    `config["freezing"]` its weights are then constants. `config["operators"]` is a module of torch's that registers
    operators of the model."""

    name = "torch"
    modules = ("torch", "transformers")
    distributions = ("torch", "transformers", "cloudpickle")
    extra = "torch"
    devices = ("cpu", "cuda")
    gpu_distribution = "nvidia-cuda-runtime"
    runs = ("module",)
    reference_dtypes = {"cpu": ("bfloat16",), "cuda": ("float16", "bfloat16")}
    compiles = True

    def __init__(
        self, module: torch.nn.Module, dtype: torch.dtype | None, output_names: list[str], freezing: bool = False
    ) -> None:
        self.module, self._dtype, self._output_names, self._freezing = module, dtype, output_names, freezing

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        import torch

        # This applies to the whole process: torch has no narrower setting.
        torch.set_num_threads(threads)
        if config.get("operators"):
            importlib.import_module(config["operators"])
        with packing_for(config.get("quantized_engine")):
            module = read(folder, device).eval()
        dtype = getattr(torch, config["dtype"]) if config.get("dtype") else None
        if config.get("compile"):
            if problem := compiler_problem():
                raise QuantbentoError(f"the model is compiled when it is loaded: {problem}")
            for package in ("_inductor", "_functorch"):  # about its own code
                warnings.filterwarnings("ignore", category=UserWarning, module=rf"torch\.{package}")
            module.compile(dynamic=True)  # at the first call; for inputs of any size
        module = module if dtype is None else module.to(dtype)
        return cls(module, dtype, config["output_names"], bool(config.get("freezing")))

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        return torch_problem(device)

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        import torch

        module = job.source.module
        if module is None or (dtype != "float32" and program_of(module) is not None):
            return None  # an exported program keeps the types that it was exported with
        if dtype == "float32":
            save(module, folder)
            return {"output_names": job.task.output_names}
        with torch.no_grad():  # copies of TorchScript's weights would remember that they are copies
            save(copy.deepcopy(module).to(getattr(torch, dtype)), folder)
        return {"output_names": job.task.output_names, "dtype": dtype}

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        import torch

        inputs = {name: torch.from_numpy(np.require(value, requirements=("C", "W"))) for name, value in batch.items()}
        if self.device != "cpu":
            inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        if self._dtype is not None:
            inputs = {n: t.to(self._dtype) if t.is_floating_point() else t for n, t in inputs.items()}
        with torch.inference_mode(), _compiling(self._freezing):
            outputs = named_outputs(self.module(**inputs))
        return {name: _array(outputs[name]) for name in self._output_names}


def compiler_problem() -> str | None:
    """Why torch cannot compile models on this machine; None where it can."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:  # torch's own, which lies elsewhere in every version
        return "that needs a C++ compiler, and there is none; install g++ (or name another in CXX)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "that needs Python's C headers, and there are none; install python3-dev"
    return None


@contextlib.contextmanager
def _compiling(freezing: bool) -> Iterator[None]:
    """A model that is compiled inside, for the first time or for other sizes, has its weights as constants. Passed as
    an option of `compile`, this would come too late: the graph is traced before it."""
    if not freezing:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor import config

    try:
        with config.patch(freezing=True):  # of this thread only
            yield
    except (TorchDynamoException, AssertionError) as error:  # compiled code asserts what it expects of the compiler
        reason = summary(getattr(error, "inner_exception", error))
        raise QuantbentoError(f"torch cannot compile the model: {reason}; make it with `compile: false`") from error


@contextlib.contextmanager
def packing_for(engine: str | None) -> Iterator[None]:
    """INT8 weights that are made or read inside run on the kernels of `engine`; on this machine's own where it has no
    such kernels, or None is given."""
    import torch

    before = torch.backends.quantized.engine
    if engine in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = engine
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def _array(tensor: torch.Tensor) -> np.ndarray:
    """NumPy has no bfloat16, and half precision would be lost on what is computed from it: both become float32."""
    half = tensor.is_floating_point() and tensor.element_size() == 2
    return (tensor.float() if half else tensor).cpu().numpy()
