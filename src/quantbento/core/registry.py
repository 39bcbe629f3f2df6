"""What a recipe can name: tasks, quantizers and runtimes. A name is resolved in this order:

1. the tables below, imported on first use; adding one here is one file and one line
2. an entry point of an installed package, in the groups quantbento.tasks, quantbento.quantizers, quantbento.runtimes
3. `module:Class`, a class of the user's own
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of

TASKS = {
    "feature-extraction": "quantbento.tasks.feature_extraction:FeatureExtraction",
    "text-classification": "quantbento.tasks.text_classification:TextClassification",
    "text-ranking": "quantbento.tasks.text_ranking:TextRanking",
    "token-classification": "quantbento.tasks.token_classification:TokenClassification",
    "image-classification": "quantbento.tasks.image_classification:ImageClassification",
    "image-feature-extraction": "quantbento.tasks.image_feature_extraction:ImageFeatureExtraction",
    "text-generation": "quantbento.tasks.text_generation:TextGeneration",
    "tensor": "quantbento.tasks.tensor:TensorTask",
}
QUANTIZERS = {
    "torch-dynamic": "quantbento.quantizers.torch.dynamic:TorchDynamic",
    "torch-static": "quantbento.quantizers.torch.static:TorchStatic",
    "torch-qat": "quantbento.quantizers.torch.qat:TorchQat",
    "torchscript": "quantbento.quantizers.torch.torchscript:TorchScript",
    "picklable": "quantbento.quantizers.torch.picklable:Picklable",
    "torchao": "quantbento.quantizers.torch.torchao:TorchAo",
    "torch-export": "quantbento.quantizers.torch.export:TorchExport",
    "onnx-dynamic": "quantbento.quantizers.onnx.dynamic:OnnxDynamic",
    "onnx-static": "quantbento.quantizers.onnx.static:OnnxStatic",
    "onnx-weights": "quantbento.quantizers.onnx.weights:OnnxWeights",
    "openvino": "quantbento.quantizers.openvino.static:OpenVino",
    "openvino-weights": "quantbento.quantizers.openvino.weights:OpenVinoWeights",
    "litert": "quantbento.quantizers.litert.quantizer:LiteRt",
    "tensorrt": "quantbento.quantizers.tensorrt.quantizer:TensorRt",
    "rtn": "quantbento.quantizers.llm.rtn:Rtn",
    "autoround": "quantbento.quantizers.llm.autoround:AutoRound",
    "awq": "quantbento.quantizers.llm.awq:Awq",
    "gptq": "quantbento.quantizers.llm.gptq:Gptq",
    "smoothquant": "quantbento.quantizers.llm.smoothquant:SmoothQuant",
    "bnb-nf4": "quantbento.quantizers.llm.bitsandbytes:Nf4",
    "bnb-int8": "quantbento.quantizers.llm.bitsandbytes:Int8",
    "gguf": "quantbento.quantizers.gguf.quantizer:Gguf",
    "vllm-pooling": "quantbento.quantizers.llm.pooling:PoolingCheckpoint",
}
# The first runtime of each contract is the one whose full precision is the baseline.
RUNTIMES = {
    "torch": "quantbento.runtimes.torch:TorchRuntime",
    "onnx": "quantbento.runtimes.onnx:OnnxRuntime",
    "openvino": "quantbento.runtimes.openvino:OpenVinoRuntime",
    "litert": "quantbento.runtimes.litert:LiteRtRuntime",
    "tensorrt": "quantbento.runtimes.tensorrt:TensorRtRuntime",
    "vllm": "quantbento.runtimes.vllm:VllmRuntime",
    "vllm-pooling": "quantbento.runtimes.vllm_pooling:VllmPoolingRuntime",
    "transformers": "quantbento.runtimes.transformers:TransformersRuntime",
    "llama-cpp": "quantbento.runtimes.llama_cpp:LlamaCppRuntime",
}
TABLES = {"task": TASKS, "quantizer": QUANTIZERS, "runtime": RUNTIMES}
BASES = {
    "task": "quantbento.tasks.base:Task",
    "quantizer": "quantbento.quantizers.base:Quantizer",
    "runtime": "quantbento.runtimes.base:Runtime",
}


def task(name: str) -> Any:
    """The task class of that name."""
    return lookup("task", name)


def quantizer(name: str) -> Any:
    """The quantizer class of that name."""
    return lookup("quantizer", name)


def runtime(name: str) -> Any:
    """The runtime class of that name. Importing it loads no engine."""
    return lookup("runtime", name)


def lookup(kind: str, name: str) -> Any:
    """The class that `name` means.

    Args:
        kind: "task", "quantizer" or "runtime".

    Raises:
        QuantbentoError: nothing has that name (the message says what is allowed), or a class from outside this
            project is not of that kind or lacks something that the kind must declare.
    """
    if name in TABLES[kind]:
        return _imported(TABLES[kind][name])
    if entry := _entry_points(kind).get(name):
        return _checked(kind, name, _loaded(entry))
    if ":" in name:
        return _checked(kind, name, user_code.resolve(name))
    known = names(kind)
    raise QuantbentoError(
        f"unknown {kind} {name!r}{did_you_mean(name, known)} (allowed: {one_of(known)}, or module:Class)"
    )


def names(kind: str) -> list[str]:
    """All names that need no colon, the project's own first."""
    return list(dict.fromkeys([*TABLES[kind], *_entry_points(kind)]))


def name_of(kind: str, found: type) -> str:
    """The name under which `lookup` finds a class again, also in another process."""
    own = getattr(found, "name", "")
    if (own in TABLES[kind] or own in _entry_points(kind)) and lookup(kind, own) is found:
        return own
    if "." in found.__qualname__:
        raise QuantbentoError(f"{kind} {found.__qualname__} must stand at the top of its module, to be found again")
    return f"{found.__module__}:{found.__qualname__}"


def identity(kind: str, name: str) -> dict[str, str]:
    """What distinguishes this version of a class from another: its module's hash, or its package's version. Empty for
    the project's own classes, which the project's version covers."""
    if name in TABLES[kind]:
        return {}
    if (entry := _entry_points(kind).get(name)) is not None:
        return {"distribution": entry.dist.name, "version": entry.dist.version} if entry.dist else {}
    return user_code.identity(name)


def runtime_of(quantizer: Any, task: Any) -> Any:
    """The runtime class that serves a quantizer's artifact for a task: the first one that the quantizer writes for and
    that has the task's contract, or None."""
    return next((found for found in map(runtime, quantizer.runtimes) if runs(found, task)), None)


def runs(runtime: Any, task: Any) -> bool:
    """Whether a runtime runs models of a task, as both declare it."""
    return runtime.contract == task.contract and (runtime.model_types is None or task.name in runtime.model_types)


def _entry_points(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"quantbento.{kind}s")}


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # importing another package can raise anything
        package = entry.dist.name if entry.dist else entry.group
        raise QuantbentoError(f"{entry.name!r} of the package {package} cannot be imported: {error!r}") from error


def _imported(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _checked(kind: str, name: str, found: Any) -> Any:
    base = _imported(BASES[kind])
    if not (isinstance(found, type) and issubclass(found, base)):
        raise QuantbentoError(
            f"{kind} {name!r} is no subclass of {BASES[kind].replace(':', '.')}; see docs/extending.md"
        )
    if missing := [attribute for attribute in base.declares if not hasattr(found, attribute)]:
        raise QuantbentoError(f"{kind} {name!r} does not declare {', '.join(missing)}; see docs/extending.md")
    if abstract := sorted(getattr(found, "__abstractmethods__", ())):
        raise QuantbentoError(f"{kind} {name!r} does not define {', '.join(abstract)}; see docs/extending.md")
    return found
