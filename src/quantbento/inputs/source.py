"""The full-precision model a recipe names, from wherever it is.

`identify` is cheap and imports neither torch nor transformers; `load_source` reads the weights, or for a language
model gives a checkpoint in 16 bit that quantizers read themselves. The model's own files are never written to: a
LoRA adapter is merged in memory, or into a checkpoint in the run's workspace.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, summary
from quantbento.recipe import ModelSpec

if TYPE_CHECKING:
    import torch

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.py", "*.jinja")
FILES = ("*.safetensors", "*.bin", *SMALL_FILES)
AUTO_CLASSES = {
    "feature-extraction": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "text-generation": "AutoModelForCausalLM",
}
ON_DISK = ("text-generation",)  # models of these tasks are not held in memory
HALF = ("bfloat16", "float16")


class SourceModel:
    """Either a PyTorch module in fp32 and eval mode, with its folder where it has one, or an ONNX file.

    `dtype` is given where the model stays on disk: `folder` is then a complete checkpoint in that dtype, an adapter
    merged into it, and `module` is read from it by whoever asks first.
    """

    def __init__(
        self,
        module: torch.nn.Module | None = None,
        folder: Path | None = None,
        onnx: Path | None = None,
        trust_remote_code: bool = False,
        dtype: str | None = None,
    ) -> None:
        self.folder, self.onnx, self.trust_remote_code, self.dtype = folder, onnx, trust_remote_code, dtype
        self._module = module

    @property
    def module(self) -> torch.nn.Module | None:
        if self._module is None and self.dtype:
            assert self.folder is not None
            self._module = _read_folder(self.folder, "AutoModelForCausalLM", self.trust_remote_code)
        return self._module


def requires(spec: ModelSpec, task: str) -> tuple[str, ...]:
    """The packages that `load_source` imports for this model."""
    if spec.onnx:
        return ("onnx",)
    packages = ["torch"]
    packages += ["transformers"] if task in AUTO_CLASSES else []
    packages += ["huggingface_hub"] if spec.id else []
    return (*packages, "peft") if spec.adapter else tuple(packages)


def identify(spec: ModelSpec) -> dict[str, Any]:
    """What tells this model from any other: a hub id with its revision, or the sha256 of its files.

    Raises:
        QuantbentoError: a folder, package or module is missing.
    """
    adapter = {"adapter_sha256": _hash_folder(spec.adapter)} if spec.adapter else {}
    if spec.factory:
        return user_code.identity(spec.factory) | adapter
    if spec.onnx:
        return {"onnx": spec.onnx.name, "sha256": _hash_files([spec.onnx, *external_data(spec.onnx)])}
    if spec.id:
        return {"id": spec.id, "revision": _commit(spec), "subfolder": spec.subfolder} | adapter
    folder = _local_folder(spec)
    name = {"package": spec.package} if spec.package else {"path": folder.name}
    return name | {"sha256": _hash_folder(folder)} | adapter


def load_source(spec: ModelSpec, task: str, workspace: Path | None = None) -> SourceModel:
    """The model for the task: in memory, or on disk, in `workspace` where it is not usable as it lies.

    Raises:
        QuantbentoError: it cannot be found or read, lacks weights, or wants to run code of its own.
    """
    if spec.onnx:
        return SourceModel(onnx=spec.onnx)
    if spec.factory:
        made = user_code.call(spec.factory)
        if not isinstance(made, str | Path):
            return SourceModel(module=_merge_adapter(_checked_module(made, spec.factory), spec.adapter))
        folder = Path(made)
    else:
        folder = fetch(spec)
    if task not in AUTO_CLASSES:
        raise QuantbentoError(
            f"task {task!r} takes its model from a factory that returns a torch module, or from an ONNX file; "
            f"a folder in hub format serves {', '.join(AUTO_CLASSES)}"
        )
    if task in ON_DISK:
        return _checkpoint(folder, spec, workspace or Path(tempfile.mkdtemp(prefix="quantbento-")))
    module = _read_folder(folder, AUTO_CLASSES[task], spec.trust_remote_code)
    return SourceModel(_merge_adapter(module, spec.adapter), folder, trust_remote_code=spec.trust_remote_code)


def fetch(spec: ModelSpec, weights: bool = True) -> Path:
    """The folder of a model that is not a Python object or an ONNX file; without its weights where they are far away
    and not wanted."""
    if spec.factory:
        made = user_code.call(spec.factory)
        if not isinstance(made, str | Path):
            raise QuantbentoError(f"{spec.factory!r} must return the path of a folder in hub format for this task")
        return Path(made)
    return _download(spec, FILES if weights else SMALL_FILES) if spec.id else _local_folder(spec)


def external_data(path: Path) -> list[Path]:
    """Files beside an ONNX file that hold its weights, where it says they do."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except Exception as error:  # protobuf's own, which share no base
        raise QuantbentoError(f"{path} is not an ONNX file: {summary(error)}") from None
    names = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    return sorted(path.parent / name for name in names)


def _checkpoint(folder: Path, spec: ModelSpec, workspace: Path) -> SourceModel:
    """The folder itself, or a copy of it with the adapter merged and the weights in 16 bit."""
    if not (folder / "config.json").is_file():
        raise QuantbentoError(f"{folder} is no model in hub format: it has no config.json")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise QuantbentoError(f"{folder} is quantized already; name the model it was made from")
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = stored if stored in HALF else HALF[0]
    if stored == dtype and spec.adapter is None:
        return SourceModel(folder=folder, trust_remote_code=spec.trust_remote_code, dtype=dtype)
    from transformers import AutoTokenizer

    module = _read_folder(folder, "AutoModelForCausalLM", spec.trust_remote_code, dtype)
    copy = workspace / "source"
    merged: Any = _merge_adapter(module, spec.adapter)
    merged.save_pretrained(copy)
    AutoTokenizer.from_pretrained(folder).save_pretrained(copy)
    return SourceModel(folder=copy, trust_remote_code=spec.trust_remote_code, dtype=dtype)


def _read_folder(folder: Path, auto_class: str, trust_remote_code: bool, dtype: str = "float32") -> torch.nn.Module:
    import transformers

    if not (folder / "config.json").is_file():
        raise QuantbentoError(f"{folder} is no model in hub format: it has no config.json")
    transformers.utils.logging.disable_progress_bar()
    try:
        module, info = getattr(transformers, auto_class).from_pretrained(
            folder, dtype=dtype, trust_remote_code=trust_remote_code, output_loading_info=True
        )
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise QuantbentoError(
                f"{folder} brings Python code that would be run on loading; read it, and if you trust it set "
                "trust_remote_code: true under model"
            ) from error
        raise QuantbentoError(f"{folder} could not be loaded as {auto_class}: {error}") from error
    # A head that the checkpoint lacks is silently filled with random numbers. Embeddings do not use the encoder's own
    # pooler; a classifier does.
    unused = "pooler." if auto_class == "AutoModel" else "no such key"
    missing = sorted(k for k in info["missing_keys"] if not k.startswith(unused))
    if missing:
        raise QuantbentoError(
            f"{folder} has no weights for {', '.join(missing[:4])}{' ...' * (len(missing) > 4)}: they would be random. "
            f"Is it a model for this task ({auto_class})?"
        )
    if hasattr(module.config, "use_cache") and auto_class != "AutoModelForCausalLM":
        module.config.use_cache = False
    return module.eval()


def _merge_adapter(module: torch.nn.Module, adapter: Path | None) -> torch.nn.Module:
    if adapter is None:
        return module
    if not (adapter / "adapter_config.json").is_file():
        raise QuantbentoError(f"{adapter} is no PEFT adapter: it has no adapter_config.json")
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # An adapter whose names do not fit the model would be merged as nothing at all.
            warnings.filterwarnings("error", "Found missing adapter keys")
            merged = PeftModel.from_pretrained(module, str(adapter)).merge_and_unload(safe_merge=True)
    except Exception as error:
        raise QuantbentoError(f"the adapter {adapter} could not be merged: {error}") from error
    return merged.eval()


def _checked_module(made: Any, reference: str) -> torch.nn.Module:
    import torch

    if not isinstance(made, torch.nn.Module):
        raise QuantbentoError(
            f"{reference!r} must return a torch.nn.Module or the path of a folder in hub format, "
            f"not {type(made).__name__}"
        )
    return made.float().eval()


def _download(spec: ModelSpec, names: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [f"{spec.subfolder}/{p}" if spec.subfolder else p for p in (*names, "*/config.json")]
    try:
        folder = snapshot_download(str(spec.id), revision=_commit(spec), allow_patterns=patterns)
    except QuantbentoError:
        raise
    except Exception as error:  # see _commit
        raise _not_fetched(spec, error) from error
    return Path(folder) / spec.subfolder


def _commit(spec: ModelSpec) -> str:
    """The commit a branch or tag stands for now: on the hub, or without network in the local cache."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if spec.revision and re.fullmatch(r"[0-9a-f]{40}", spec.revision):
        return spec.revision
    try:
        return str(HfApi().model_info(str(spec.id), revision=spec.revision, timeout=10).sha)
    except HFValidationError as error:  # no hub id at all
        raise _not_fetched(spec, error) from error
    except Exception as error:  # the hub's errors share no useful base; all mean: not to be had
        name = f"{spec.subfolder}/config.json" if spec.subfolder else "config.json"
        cached = try_to_load_from_cache(str(spec.id), name, revision=spec.revision or "main")
        if not isinstance(cached, str):
            raise _not_fetched(spec, error) from error
        return Path(cached.removesuffix(name)).name


def _not_fetched(spec: ModelSpec, error: Exception) -> QuantbentoError:
    return QuantbentoError(
        f"the hub model {spec.id!r} (revision {spec.revision or 'main'}) could not be fetched: "
        f"{summary(error)}. Without network, use `path:` with a local folder"
    )


def _local_folder(spec: ModelSpec) -> Path:
    if spec.path:
        folder = spec.path / spec.subfolder
    else:
        assert spec.package is not None
        try:
            distribution = importlib.metadata.distribution(spec.package)
        except importlib.metadata.PackageNotFoundError:
            raise QuantbentoError(
                f"the package {spec.package!r} is not installed; run: pip install {spec.package}"
            ) from None
        tops = dict.fromkeys(f.parts[0] for f in distribution.files or () if f.name == "__init__.py")
        folders = [Path(str(distribution.locate_file(top))) / spec.subfolder for top in tops]
        if not folders:
            raise QuantbentoError(
                f"the package {spec.package!r} brings no folder (it is one file, or installed as editable); use `path:`"
            )
        folder = next((f for f in folders if f.is_dir()), folders[0])
    if not folder.is_dir():
        raise QuantbentoError(f"no such folder: {folder}")
    return folder


def _hash_folder(folder: Path) -> str:
    return _hash_files(sorted({p for pattern in FILES for p in folder.rglob(pattern)}), folder)


def _hash_files(files: list[Path], base: Path | None = None) -> str:
    """One sha256 of all files with their names."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(base) if base else path.name} {digest}\n".encode())
    return total.hexdigest()
