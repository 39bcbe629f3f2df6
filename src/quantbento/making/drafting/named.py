"""What a user names on the command line: a folder, a file, a function, an installed package, or a model on the hub."""

from __future__ import annotations

import importlib.metadata
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, did_you_mean
from quantbento.core.user_code import PATTERN
from quantbento.inputs import model_files
from quantbento.inputs.folders import local_folder
from quantbento.recipe import TAG_LENGTH, ModelSpec

CONFIG, ADAPTER = "config.json", "adapter_config.json"
HUB_ID = r"^[\w.-]+/[\w.-]+$"
FILES = (".onnx", ".pt2", ".pt")


@dataclass(frozen=True)
class Named:
    """A model and how a recipe says it.

    Attributes:
        spec: the recipe's `model`.
        name: what the recipe is called.
        adapter: what an adapter's configuration says; empty where there is no adapter.
    """

    spec: ModelSpec
    name: str
    adapter: dict[str, Any] = field(default_factory=dict)


def find(
    source: str,
    *,
    base: str | None = None,
    weights: Path | None = None,
    revision: str | None = None,
    trust: bool = False,
) -> Named:
    """The model that `source` names.

    Args:
        base: the model that an adapter is for, where its folder does not say so or names another place.
        weights: a safetensors file for the module that a function returns.
        revision: of a hub model.
        trust: whether code that comes with the model may be run.

    Raises:
        QuantbentoError: it is no model; the message says what is missing, and what to run instead.
    """
    path = Path(source).expanduser()
    if (path / ADAPTER).is_file():
        return _adapter(path, base, revision, trust)
    if weights is not None and not re.match(PATTERN, source):
        raise QuantbentoError(f"--weights goes with module:function, which {source} is not; leave it out")
    if base is not None:
        raise QuantbentoError(f"--base goes with an adapter, and {source} is none: it has no {ADAPTER}; leave it out")
    given: dict[str, Any] = {"trust_remote_code": trust} if trust else {}
    if path.is_file():
        name = path.resolve().parent.name if path.stem == "model" else path.stem  # `model` says nothing
        return Named(ModelSpec(**{_kind(path): path.resolve()}), _slug(name))
    if path.is_dir():
        return Named(ModelSpec(path=_hub_format(path), **given), _slug(path.resolve().name))
    if re.match(PATTERN, source):
        module, _, function = source.partition(":")
        name = module.rpartition(".")[2] if function in ("model", "load", "make", "create", "build") else function
        given |= {"weights": weights.resolve()} if weights else {}
        return Named(ModelSpec(factory=source, **given), _slug(name))
    if source in _distributions():
        return Named(ModelSpec(package=source, subfolder=_subfolder(source), **given), _slug(source))
    if re.match(HUB_ID, source):
        return Named(ModelSpec(id=source, revision=revision, **given), _slug(source.partition("/")[2]))
    near = did_you_mean(source, [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else [])
    raise QuantbentoError(
        f"{source!r} is no file or folder here{near}, no installed package, no module:function and no owner/name of "
        "the hub"
    )


def _kind(path: Path) -> str:
    """The recipe's key for a file."""
    if path.suffix == ".onnx":
        return "onnx"
    kind = model_files.kind_of(path)
    if kind in ("onnx", model_files.TORCHSCRIPT, model_files.EXPORTED):
        return kind
    if kind == model_files.WEIGHTS:
        raise QuantbentoError(
            f"{path} holds weights without the model's code. Name the folder in hub format that it lies in, or the "
            f"function that returns the module: quantbento init module:function --weights {path}"
        )
    if path.suffix == ".gguf":
        raise QuantbentoError(f"{path} is a quantized model for llama.cpp; name the model it was made from")
    what, do = model_files.KINDS[kind]
    raise QuantbentoError(f"{path} is {what}; {do}")


def _hub_format(folder: Path) -> Path:
    """The folder, if it holds a model in hub format."""
    if (folder / CONFIG).is_file():
        return folder.resolve()
    inside = sorted(p for name in (CONFIG, ADAPTER) for p in folder.glob(f"*/{name}"))
    files = sorted(p for suffix in FILES for p in folder.glob(f"*{suffix}"))
    if inside:
        names = ", ".join(dict.fromkeys(p.parent.name for p in inside))
        hint = f"; in it there is {names}. Run: quantbento init {inside[-1].parent}"
    elif files:
        hint = f". Run: quantbento init {files[0]}"
    else:
        there = sorted(p.name for p in folder.iterdir())
        hint = f"; it holds {', '.join(there[:5]) or 'nothing'}{' ...' * (len(there) > 5)}"
    raise QuantbentoError(f"{folder} is no model: it has neither {CONFIG} nor {ADAPTER}{hint}")


def _adapter(folder: Path, base: str | None, revision: str | None, trust: bool) -> Named:
    """An adapter with the model it is for."""
    config = read_object(folder / ADAPTER)
    told = base or config.get("base_model_name_or_path")
    if not told:
        raise QuantbentoError(f"{folder / ADAPTER} does not say which model it is for; add --base MODEL")
    for place in (Path(told).expanduser(), folder / told):
        if place.is_dir():
            told = str(place)
    try:
        model = find(str(told), revision=revision or config.get("revision"), trust=trust).spec
    except QuantbentoError as error:
        raise QuantbentoError(
            f"{folder} is an adapter for {str(told)!r}, which is not here: {error}. Add --base MODEL"
        ) from error
    spec = ModelSpec(**{**model.model_dump(exclude_defaults=True), "adapter": folder.resolve()})
    return Named(spec, _slug(folder.resolve().name), config)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        QuantbentoError: it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QuantbentoError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise QuantbentoError(f"{path} holds a {type(value).__name__}, not an object")
    return value


def _distributions() -> set[str]:
    return {str(distribution.name) for distribution in importlib.metadata.distributions()}


def _subfolder(package: str) -> str:
    """Where the model lies inside a package."""
    folder = local_folder(ModelSpec(package=package))
    found = sorted((p.parent for p in folder.rglob(CONFIG)), key=lambda p: len(p.parts))
    if not found:
        raise QuantbentoError(f"the package {package!r} carries no model: there is no {CONFIG} in {folder}")
    return "" if found[0] == folder else found[0].relative_to(folder).as_posix()


def _slug(name: str) -> str:
    """The name as the model store takes names, with room for those of the variants."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower().replace("_", "-"))
    return re.sub(r"^[^a-z0-9]+|[^a-z0-9]+$", "", plain[: TAG_LENGTH - 20]) or "model"
