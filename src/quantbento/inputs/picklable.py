"""Models in the model store that `bentoml.picklable_model.save_model` wrote, which BentoML 1.4 deprecates.

Reading one runs the code in it, and no manifest says who wrote it: a recipe has to say that it is trusted.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs.folders import hash_files
from quantbento.runtimes.module_files import PICKLABLE

if TYPE_CHECKING:
    import torch

MODULE = "bentoml.picklable_model"


def identity(tag: str) -> dict[str, Any]:
    """The model's exact tag, and its file's sha256. Nothing is unpickled.

    Raises:
        QuantbentoError: there is no such model, or it was not stored so.
    """
    exact, path = _find(tag)
    return {"picklable": exact, "sha256": hash_files([path])}


def read(tag: str) -> torch.nn.Module:
    """The module, in float32 and eval mode. Runs the code in the pickle.

    Raises:
        QuantbentoError: as `identity`; or it cannot be unpickled, is no module, or is quantized already.
    """
    import cloudpickle
    import torch

    exact, path = _find(tag)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = cloudpickle.load(file)
    except Exception as error:  # unpickling runs any code
        raise QuantbentoError(
            f"{exact} cannot be unpickled: {summary(error)}. It needs the packages and versions it was saved with"
        ) from error
    if not isinstance(made, torch.nn.Module):
        raise QuantbentoError(f"{exact} holds a {type(made).__name__}; a torch.nn.Module is needed")
    if quantized := [name or "the model" for name, m in made.named_modules() if "quantized" in type(m).__module__]:
        raise QuantbentoError(
            f"{exact} is quantized already ({quantized[0]}); name the model in full precision that it was made from"
        )
    return made.float().eval()


def _find(tag: str) -> tuple[str, Path]:
    import bentoml

    try:
        model = bentoml.models.get(tag)
    except bentoml.exceptions.BentoMLException as error:
        raise QuantbentoError(
            f"no model {tag!r} in the store: {summary(error)}. See what is stored: bentoml models list"
        ) from error
    if model.info.module.removeprefix("bentoml._internal.frameworks.") not in (MODULE, "picklable_model"):
        by = f"by {model.info.module}" if model.info.module else "without a framework"
        raise QuantbentoError(f"{model.tag} was stored {by}; `picklable` takes what {MODULE}.save_model wrote")
    return str(model.tag), Path(model.path_of(PICKLABLE))
