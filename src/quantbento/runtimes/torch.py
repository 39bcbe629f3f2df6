"""PyTorch modules, TorchScript and `torch.export` programs on CPU."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.runtimes.base import ArrayRuntime, ReferenceJob
from quantbento.runtimes.module_files import MODEL, program_of, read, save
from quantbento.tasks.outputs import named_outputs

if TYPE_CHECKING:
    import torch

__all__ = ["MODEL", "TorchRuntime", "packing_for", "save"]


class TorchRuntime(ArrayRuntime):
    """The module and its float inputs are cast to `config["dtype"]`, where given. Half precision comes back as float32;
    outputs of other types stay what they are. With `config["compile"]` it is compiled at the first call."""

    name = "torch"
    modules = ("torch", "transformers")
    distributions = ("torch", "transformers", "cloudpickle")
    extra = "torch"
    runs = ("module",)
    reference_dtypes = ("bfloat16",)

    def __init__(self, module: torch.nn.Module, dtype: torch.dtype | None, output_names: list[str]) -> None:
        self.module, self._dtype, self._output_names = module, dtype, output_names

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int) -> Self:
        import torch

        # This applies to the whole process: torch has no narrower setting.
        torch.set_num_threads(threads)
        with packing_for(config.get("quantized_engine")):
            module = read(folder).eval()
        dtype = getattr(torch, config["dtype"]) if config.get("dtype") else None
        if config.get("compile"):
            module.compile(dynamic=True)  # at the first call; for inputs of any size
        return cls(module if dtype is None else module.to(dtype), dtype, config["output_names"])

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
        if self._dtype is not None:
            inputs = {n: t.to(self._dtype) if t.is_floating_point() else t for n, t in inputs.items()}
        with torch.inference_mode():
            outputs = named_outputs(self.module(**inputs))
        return {name: _array(outputs[name]) for name in self._output_names}


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
    return (tensor.float() if half else tensor).numpy()
