"""Models that are one file: TorchScript, `torch.export` programs, and weights in safetensors for a module."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from quantbento.core.errors import QuantbentoError, summary

if TYPE_CHECKING:
    import torch

TORCHSCRIPT, EXPORTED, WEIGHTS = "torchscript", "exported", "weights"
SHOWN = 5  # names in a message

# What a file is, and what a recipe does with it.
KINDS = {
    TORCHSCRIPT: ("TorchScript", "name it with `torchscript:`"),
    EXPORTED: ("a torch.export program", "name it with `exported:`"),
    WEIGHTS: ("safetensors", "name it with `weights:`, beside the `factory:` of the module they are for"),
    "onnx": ("an ONNX graph", "name it with `onnx:`"),
    "pickle": (
        "a pickle, as torch.save writes it; reading one runs code, so it is not read",
        "save the model's weights with safetensors.torch.save_model(model, 'model.safetensors') and name them with "
        "`weights:`, beside the `factory:` of the module they are for",
    ),
    "": (
        "of no kind that is known here",
        "save a model with torch.jit.save or torch.export.save, or its weights with safetensors.torch.save_model",
    ),
}
WRITTEN_BY = {
    TORCHSCRIPT: "torch.jit.save",
    EXPORTED: "torch.export.save",
    WEIGHTS: "safetensors.torch.save_model or save_file",
}


def check_kind(path: Path, wanted: str) -> None:
    """Looks at a file without reading its weights.

    Args:
        path: the file.
        wanted: the recipe's key that names it.

    Raises:
        QuantbentoError: it is of another kind; says which, and what to do with it.
    """
    if (found := kind_of(path)) != wanted:
        what, do = KINDS[found]
        raise QuantbentoError(
            f"{path} is {what}; `{wanted}` takes a file that {WRITTEN_BY[wanted]} wrote. What you can do: {do}"
        )


def kind_of(path: Path) -> str:
    """The recipe's key for a file of this kind; "pickle", or "" for anything else."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = {name.partition("/")[2] for name in archive.namelist()}
        if "archive_format" in inside or any(name.startswith("models/") for name in inside):
            return EXPORTED
        return TORCHSCRIPT if "constants.pkl" in inside else "pickle" if "data.pkl" in inside else ""
    with path.open("rb") as file:
        start = file.read(9)
    if start[:1] == b"\x80":
        return "pickle"
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size:
        return WEIGHTS
    return "onnx" if start[:1] == b"\x08" else ""  # an ONNX file starts with the field of its version


def read_torchscript(path: Path) -> torch.nn.Module:
    """
    Raises:
        QuantbentoError: it is no TorchScript file, or one that this torch cannot read.
    """
    import torch

    check_kind(path, TORCHSCRIPT)
    try:
        return torch.jit.load(path, map_location="cpu")
    except Exception as error:
        raise QuantbentoError(f"{path} cannot be read by torch {torch.__version__}: {summary(error)}") from error


def read_exported(path: Path) -> torch.nn.Module:
    """A module that is called with its inputs by name (`quantbento.runtimes.module_files.exported_module`).

    Raises:
        QuantbentoError: it is no exported program, or one that this torch cannot read.
    """
    import torch

    from quantbento.runtimes.module_files import exported_module

    check_kind(path, EXPORTED)
    try:
        return exported_module(torch.export.load(path))
    except Exception as error:
        raise QuantbentoError(
            f"{path} cannot be read by torch {torch.__version__}: {summary(error)}. "
            "Export it with this version of torch"
        ) from error


def load_weights(module: torch.nn.Module, path: Path, factory: str) -> torch.nn.Module:
    """The module with its weights replaced by the file's, in place.

    Raises:
        QuantbentoError: names, shapes or types do not fit; all of them are listed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_kind(path, WEIGHTS)
    try:
        given = load_file(path)
    except (SafetensorError, OSError) as error:
        raise QuantbentoError(f"{path} cannot be read: {summary(error)}") from error
    own = module.state_dict()
    places = {own[name].data_ptr() for name in given if name in own}  # tied weights are stored once
    problems = {
        "missing": [n for n, t in own.items() if n not in given and t.data_ptr() not in places],
        "unexpected": [n for n in given if n not in own],
        "of another shape": [
            f"{n} {tuple(t.shape)}, not {tuple(own[n].shape)}"
            for n, t in given.items()
            if n in own and t.shape != own[n].shape
        ],
        "quantized, which must be in full precision": [
            f"{n} {t.dtype}" for n, t in given.items() if n in own and own[n].is_floating_point() and not _full(t)
        ],
    }
    if any(problems.values()):
        told = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' * (len(names) > SHOWN)}"
            for what, names in problems.items()
            if names
        )
        raise QuantbentoError(f"{path} does not hold the weights of the module that {factory!r} returns: {told}")
    module.load_state_dict(given, strict=False)
    return module


def _full(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() > 1
