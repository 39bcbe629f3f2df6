"""What `quantbento build NAME` means: a build file, or a stored model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantbento import store
from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError, StoreError, did_you_mean, one_of
from quantbento.packing import build_files
from quantbento.packing.build_files import DEFAULT, BuildFile
from quantbento.packing.drafting import draft
from quantbento.serving.choice import only_model

BUILD = "quantbento build {name}"


@dataclass(frozen=True)
class Target:
    """A build file and the tag of the model that it packs; None where that is the service's own matter. `note` is for
    who asked."""

    file: BuildFile
    model: str | None
    note: str | None = None


def find(
    name: str | None,
    model: str | None = None,
    write: Path | None = None,
    gpu: bool = False,
    signed: bool = False,
) -> Target:
    """
    Args:
        name: a build file in `configs/bentos`, the path of one, or a stored model's tag, in this order; quantbento's
            own build files come last. By default `bentofile.yaml`, and without one the only stored model.
        model: packed instead of the build file's.
        write: where a stored model's build file will be kept.
        gpu: a stored model's Bento is for a GPU.
        signed: a stored model's Bento can check its signature.

    Raises:
        QuantbentoError: there is no such file and no such model, or an argument has no effect.
    """
    if name is None and DEFAULT.is_file():
        return _of_file(build_files.find(None), model, write, gpu)
    tag = name or model or only_model(command=BUILD)
    stored = _stored(tag)
    file = build_files.look_up(name) if name else None
    if file is None and name and not stored:
        file = build_files.look_up(name, project_files.folder())
    if file is not None:
        both = f"{name} is a build file and a stored model; {file.path} was taken" if stored else None
        return _of_file(file, model, write, gpu, both)
    if not stored:
        raise _unknown(tag)
    if model and name:
        raise QuantbentoError(f"--model {model} would have no effect: {name} is a stored model; leave one of them out")
    return Target(draft(tag, _relative(write), gpu, signed), tag)


def _of_file(file: BuildFile, model: str | None, write: Path | None, gpu: bool, note: str | None = None) -> Target:
    if gpu:
        raise QuantbentoError(f"--gpu is for the build file of a stored model; set gpu: 1 in args of {file.path}")
    if write is not None:
        raise QuantbentoError(f"--write keeps the build file of a stored model; {file.path} is one already")
    tag = model or file.model
    if tag is None and str(file.data.get("service")).endswith(":Default"):
        tag = only_model(command=BUILD)
    return Target(file, tag, note)


def _stored(tag: str) -> bool:
    try:
        store.find(tag)
    except StoreError:
        return False
    return True


def _relative(write: Path | None) -> Path | None:
    if write is None:
        return None
    if write.suffix not in (".yaml", ".yml") or write.is_absolute() or ".." in write.parts:
        raise QuantbentoError(
            f"--write {write} is no YAML file below the current folder; for example --write configs/bentos/mine.yaml"
        )
    if write.exists():
        raise QuantbentoError(f"--write {write}: there is such a file already, which stays as it is; name another")
    return write


def _unknown(name: str) -> QuantbentoError:
    files = build_files.known()
    models = sorted({model.tag.partition(":")[0] for model in store.models()})
    if name.partition(":")[0] in models:  # of that name, but of another version
        store.find(name)
    near = did_you_mean(name, [*files, *models])
    return QuantbentoError(
        f"no build file and no stored model {name!r}{near} (build files in {build_files.FOLDER}: {one_of(files)}; "
        f"stored: {one_of(models)})"
    )
