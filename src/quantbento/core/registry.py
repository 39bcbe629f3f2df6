"""The one list of what a recipe can name. Each entry is a dotted path, imported on first use.

Adding a task, a quantizer or a runtime is one file and one line here.
"""

from __future__ import annotations

import importlib
from typing import Any

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of

TASKS = {
    "feature-extraction": "quantbento.tasks.feature_extraction.FeatureExtraction",
    "text-classification": "quantbento.tasks.text_classification.TextClassification",
    "text-generation": "quantbento.tasks.text_generation.TextGeneration",
    "tensor": "quantbento.tasks.tensor.TensorTask",
}
QUANTIZERS = {
    "torch-dynamic": "quantbento.quantizers.torch.dynamic.TorchDynamic",
    "onnx-dynamic": "quantbento.quantizers.onnx.dynamic.OnnxDynamic",
    "rtn": "quantbento.quantizers.llm.rtn.Rtn",
    "autoround": "quantbento.quantizers.llm.autoround.AutoRound",
    "awq": "quantbento.quantizers.llm.awq.Awq",
    "gptq": "quantbento.quantizers.llm.gptq.Gptq",
    "smoothquant": "quantbento.quantizers.llm.smoothquant.SmoothQuant",
    "bnb-nf4": "quantbento.quantizers.llm.bitsandbytes.Nf4",
    "bnb-int8": "quantbento.quantizers.llm.bitsandbytes.Int8",
}
RUNTIMES = {
    "torch": "quantbento.runtimes.torch.TorchRuntime",
    "onnx": "quantbento.runtimes.onnx.OnnxRuntime",
    "transformers": "quantbento.runtimes.transformers.TransformersRuntime",
    "vllm": "quantbento.runtimes.vllm.VllmRuntime",
}

# Packages that each imports, as imported; its name is the extra of this package that installs them.
RUNTIME_REQUIRES = {
    "torch": ("torch", "transformers", "tokenizers"),
    "onnx": ("onnxruntime", "tokenizers"),
    "transformers": ("torch", "transformers", "accelerate"),
    "vllm": ("vllm", "transformers"),
}


def lookup(kind: str, table: dict[str, str], name: str) -> Any:
    """The class `table` has for `name`; an unknown name is an error that says what is allowed."""
    if name not in table:
        raise QuantbentoError(f"unknown {kind} {name!r}{did_you_mean(name, table)} (allowed: {one_of(table)})")
    module, _, attribute = table[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def task(name: str) -> Any:
    return lookup("task", TASKS, name)


def quantizer(name: str) -> Any:
    return lookup("quantizer", QUANTIZERS, name)


def runtime(name: str) -> Any:
    return lookup("runtime", RUNTIMES, name)


def runtime_of(quantizer: Any, task: Any) -> str | None:
    """The runtime that serves what a quantizer makes of a task's model; None where there is none."""
    return next((name for name in task.runtimes if name in quantizer.runtimes), None)
