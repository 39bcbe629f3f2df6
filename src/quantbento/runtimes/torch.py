"""PyTorch modules saved with cloudpickle. Unpickling runs code: load from the store, which verifies first."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.runtimes.base import ArrayRuntime, ReferenceJob
from quantbento.tasks.outputs import named_outputs

if TYPE_CHECKING:
    import torch

MODEL = "model.pkl"


class TorchRuntime(ArrayRuntime):
    """The module and its float inputs are cast to `config["dtype"]`, where given."""

    name = "torch"
    modules = ("torch", "transformers", "tokenizers")
    distributions = ("torch", "transformers", "tokenizers", "cloudpickle")
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
        with (folder / MODEL).open("rb") as file, warnings.catch_warnings():
            # Quantized tensors are rebuilt by a deprecated path inside torch, which we cannot change.
            warnings.simplefilter("ignore")
            module = pickle.load(file)
        dtype = getattr(torch, config["dtype"]) if config.get("dtype") else None
        return cls(module.eval() if dtype is None else module.eval().to(dtype), dtype, config["output_names"])

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        import torch

        module = job.source.module
        if module is None:
            return None
        if dtype == "float32":
            save(module, folder)
            return {"output_names": job.task.output_names}
        save(copy.deepcopy(module).to(getattr(torch, dtype)), folder)
        return {"output_names": job.task.output_names, "dtype": dtype}

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        import torch

        inputs = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()}
        if self._dtype is not None:
            inputs = {n: t.to(self._dtype) if t.is_floating_point() else t for n, t in inputs.items()}
        with torch.inference_mode():
            outputs = named_outputs(self.module(**inputs))
        return {name: outputs[name].float().numpy() for name in self._output_names}


def save(module: torch.nn.Module, folder: Path) -> None:
    """Writes a module so that it loads where its source code is not installed.

    Classes from packages are pickled by reference, classes from the user's own project by value: an image that
    serves the model holds the packages, not the project.
    """
    from quantbento.core.pickling import dump

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dump(module, folder / MODEL, classes={type(m) for m in module.modules()})
