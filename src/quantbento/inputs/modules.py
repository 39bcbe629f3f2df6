"""PyTorch modules from folders in hub format, in eval mode, with no randomly initialized weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.transformers import CAUSAL, auto_class_of

if TYPE_CHECKING:
    import torch

HALF = ("bfloat16", "float16")


def read_folder(folder: Path, auto_class: str, trust_remote_code: bool, dtype: str = "float32") -> torch.nn.Module:
    """The model in a folder, read by one of Transformers' auto classes.

    Raises:
        QuantbentoError: it cannot be read, lacks weights, or brings its own code without permission to run it.
    """
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
    # Transformers silently fills a head that the checkpoint lacks with random numbers. Embeddings do not use the
    # encoder's own pooler; a classifier does.
    unused = "pooler." if auto_class == "AutoModel" else "no such key"
    missing = sorted(k for k in info["missing_keys"] if not k.startswith(unused))
    if missing:
        raise QuantbentoError(
            f"{folder} has no weights for {', '.join(missing[:4])}{' ...' * (len(missing) > 4)}: they would be random. "
            f"Is it a model for this task ({auto_class})?"
        )
    if hasattr(module.config, "use_cache") and auto_class != CAUSAL:
        module.config.use_cache = False
    return module.eval()


def merge_adapter(module: torch.nn.Module, adapter: Path | None) -> torch.nn.Module:
    """The module with the PEFT adapter merged into it, if one is given.

    Raises:
        QuantbentoError: it is not a PEFT adapter, or does not fit the module.
    """
    if adapter is None:
        return module
    if not (adapter / "adapter_config.json").is_file():
        raise QuantbentoError(f"{adapter} is no PEFT adapter: it has no adapter_config.json")
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # Without this, an adapter whose names do not fit the model would change nothing and raise nothing.
            warnings.filterwarnings("error", "Found missing adapter keys")
            merged = PeftModel.from_pretrained(module, str(adapter)).merge_and_unload(safe_merge=True)
    except Exception as error:
        raise QuantbentoError(f"the adapter {adapter} could not be merged: {error}") from error
    return merged.eval()


def checked_module(made: Any, reference: str) -> torch.nn.Module:
    """What a factory returned, in float32 and eval mode.

    Raises:
        QuantbentoError: it is not a module.
    """
    import torch

    if not isinstance(made, torch.nn.Module):
        raise QuantbentoError(
            f"{reference!r} must return a torch.nn.Module or the path of a folder in hub format, "
            f"not {type(made).__name__}"
        )
    return made.float().eval()


def in_16_bit(folder: Path, adapter: Path | None, trust_remote_code: bool, workspace: Path) -> tuple[Path, str]:
    """A causal language model's checkpoint in 16 bit, and its dtype: the folder itself, or a converted copy in the
    workspace with the adapter merged.

    Raises:
        QuantbentoError: it is not a full-precision checkpoint in hub format.
    """
    if not (folder / "config.json").is_file():
        raise QuantbentoError(f"{folder} is no model in hub format: it has no config.json")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise QuantbentoError(f"{folder} is quantized already; name the model it was made from")
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = stored if stored in HALF else HALF[0]
    if stored == dtype and adapter is None:
        return folder, dtype
    from transformers import AutoTokenizer

    module = read_folder(folder, auto_class_of(folder), trust_remote_code, dtype)
    copy = workspace / "source"
    merged: Any = merge_adapter(module, adapter)
    merged.save_pretrained(copy)
    AutoTokenizer.from_pretrained(folder).save_pretrained(copy)
    return copy, dtype
