"""From a recipe to a quantized, proven and served model.

    report = quantbento.save("configs/minilm.yaml")
    embed = quantbento.load("minilm-l6-v2-onnx-int8")
    vectors = embed(["a sentence", "another one"])

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = ["Predictor", "QuantbentoError", "__version__", "load", "save"]

if TYPE_CHECKING:
    from quantbento.core.errors import QuantbentoError
    from quantbento.making.pipeline import save
    from quantbento.runtimes.predictor import Predictor
    from quantbento.store import load

_WHERE = {
    "QuantbentoError": "quantbento.core.errors",
    "Predictor": "quantbento.runtimes.predictor",
    "load": "quantbento.store",
    "save": "quantbento.making.pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'quantbento' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
