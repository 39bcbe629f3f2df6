"""The build file of a stored model: its service, packages, description, labels and resource hints follow from it."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from quantbento import store
from quantbento.core import project_files, registry
from quantbento.core.devices import kind_of
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import package_versions, packages_distributions
from quantbento.core.project_files import BUILD_FILES, PACKED, SERVICE
from quantbento.packing import pickled_modules, requirements
from quantbento.packing.build_files import BuildFile
from quantbento.packing.contents import DEFAULT_PYTHON
from quantbento.packing.local_code import with_imported
from quantbento.packing.model_requirements import needed_packages
from quantbento.runtimes import artifact
from quantbento.serving.choice import task_of
from quantbento.serving.services import FoundService, service_for
from quantbento.store import labels

RUNTIMES = BUILD_FILES / "runtimes"  # what a Bento has beside its model, one file for each list of packages
LISTS = BUILD_FILES / "requirements"
MIB = 2**20
SERVER_BYTES = 256 * MIB  # BentoML's processes beside the model: 150 MB measured
HEADROOM = 1.5  # times the peak that was measured with the evaluation's inputs; requests may be longer
SIGNING = ("model-signing", "pyopenssl")  # the extra `sign`
STEP_BYTES = 256 * MIB  # memory hints are multiples of it


def draft(tag: str, path: Path | None = None, gpu: bool = False, signed: bool = False) -> BuildFile:
    """The build file of a stored model.

    Args:
        tag: what the file says; a later build packs the version that it stands for then.
        path: of the file, relative; `configs/bentos/<name>.yaml` by default.
        gpu: for an NVIDIA GPU, also where the model was judged on a CPU.
        signed: with the package that checks the model's signature.

    Raises:
        QuantbentoError: there is no such model, no service for it, a package that it needs is not installed, or it does
            not run on a GPU.
    """
    stored = store.find(tag)
    task, described = task_of(stored), artifact.describe(stored.path)
    name = stored.tag.partition(":")[0]
    path = path or BUILD_FILES / f"{name}.yaml"
    service = service_for(task)
    parts, lines = _of_runtime(described, _device(stored, described, gpu))
    code, packages = _from_outside(described)
    packages += SIGNING if signed else ()
    supplied: dict[Path, Path | str] = {}
    python = {"is_src_layout": True, **parts.get("python", {}), "lock_packages": False}
    more = requirements.added(lines, [*packages, *_of_task(described), *pickled_modules.distributions(stored.path)])
    if more or "requirements_txt" not in python:
        python["requirements_txt"] = str(LISTS / f"{path.stem}.txt")
        supplied[Path(python["requirements_txt"])] = "\n".join(sorted([*lines, *more])) + "\n"
    if service.folder == Path.cwd():
        code = [SERVICE, *code]
    else:
        supplied[SERVICE] = service.folder / SERVICE
    data = {
        "service": service.target,
        "name": name,
        "description": _description(stored, name, service),
        "labels": _labels(stored, described),
        "args": {"model": tag, **_resources(stored, described["task"]), **parts.get("args", {})},
        "include": [
            *map(str, dict.fromkeys([SERVICE, *with_imported(code)])),
            *(f"src/quantbento/{p}" for p in PACKED),
        ],
        "python": python,
        **{key: value for key, value in {"docker": _docker(stored, parts), "envs": parts.get("envs")}.items() if value},
    }
    called = path.stem if path.parent == BUILD_FILES else path
    header = f"# Written by `quantbento build {tag}`, and yours to change. Build it with: quantbento build {called}\n"
    supplied[path] = header + yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return BuildFile(path, data, supplied)


def _device(stored: store.StoredModel, described: dict[str, Any], gpu: bool) -> str:
    """The kind of device that a Bento of the model is for: the one it was judged on, if not a GPU is asked for."""
    able = artifact.devices_of(described)
    if gpu and "cuda" not in able:
        raise QuantbentoError(f"{stored.tag} runs on {', '.join(able)}, not on an NVIDIA GPU; leave --gpu out")
    judged_on = kind_of(stored.manifest.get("environment", {}).get("device", "cpu"))
    return "cuda" if gpu else judged_on if judged_on in able else able[0]


def _of_runtime(described: dict[str, Any], device: str) -> tuple[dict[str, Any], list[str]]:
    """What a Bento on the model's runtime and a device has, and the lines of its list of packages. A runtime from
    outside has neither: the packages that it and quantbento need are those installed here."""
    found = {}
    wanted = {"runtime": described["runtime"], "device": device}
    for folder in (project_files.folder(), Path()):
        for file in sorted((folder / RUNTIMES).glob("*.yaml")):
            parts = yaml.safe_load(file.read_text(encoding="utf-8"))
            if {"device": "cpu", **(parts.get("labels") or {})} == wanted:
                found[file.stem] = parts
    if not found:
        runtime = registry.runtime(described["runtime"])
        needed = [next(iter(package_versions(names)), names[0]) for names in needed_packages(described["runtime"])]
        names = [*requirements.of_library(), *needed, *package_versions(runtime.distributions)]
        return {}, requirements.added([], names)
    parts = next(iter(found.values()))
    lines = project_files.find(Path(parts["python"]["requirements_txt"])).read_text(encoding="utf-8").splitlines()
    return parts, lines


def _docker(stored: store.StoredModel, parts: dict[str, Any]) -> dict[str, Any]:
    """What the runtime wants of the image, on the Python that made the model: code that was pickled with it is for that
    one."""
    version = stored.manifest.get("environment", {}).get("python") or DEFAULT_PYTHON
    made_with = ".".join(version.split(".")[:2])
    return ({} if made_with == DEFAULT_PYTHON else {"python_version": made_with}) | parts.get("docker", {})


def _from_outside(described: dict[str, Any]) -> tuple[list[Path], list[str]]:
    """Of a task and a runtime that are not quantbento's: their files in the current folder, relative, and the
    distributions that bring the others."""
    files, packages = [], []
    for kind in ("task", "runtime"):
        found = registry.lookup(kind, described[kind])
        if described[kind] in registry.TABLES[kind]:
            continue
        file = Path(inspect.getfile(found))
        if file.is_relative_to(Path.cwd()) and "site-packages" not in file.parts:
            files.append(file.relative_to(Path.cwd()))
        else:
            packages += packages_distributions().get(found.__module__.partition(".")[0], [])
    return files, packages


def _of_task(described: dict[str, Any]) -> Iterator[str]:
    """Distributions of the modules that the served task imports."""
    installed = packages_distributions()
    for module in registry.task(described["task"]).modules:
        yield installed.get(module, [module])[0]


def _labels(stored: store.StoredModel, described: dict[str, Any]) -> dict[str, str]:
    said: dict[str, str] = {}
    with contextlib.suppress(QuantbentoError):  # BentoML's own file may be gone; the manifest is not
        said = labels.read(stored)
    own: dict[str, str] = {key: said[key] for key in ("recipe", "scheme") if key in said}
    return {**labels.users(said), **own, "task": described["task"], "runtime": described["runtime"]}


def _resources(stored: store.StoredModel, task: str) -> dict[str, str]:
    """Hints as they were measured when the model was judged; none where they were not."""
    threads = stored.manifest.get("environment", {}).get("threads")
    peak = (stored.manifest.get("variant") or {}).get("peak_memory_bytes")
    found = {"cpu": str(threads)} if threads else {}
    if peak:
        needed = HEADROOM * peak + SERVER_BYTES + registry.task(task).request_bytes
        steps = math.ceil(needed / STEP_BYTES)
        found["memory"] = f"{steps // 4}Gi" if steps % 4 == 0 else f"{steps * STEP_BYTES // MIB}Mi"
    return found


def _description(stored: store.StoredModel, name: str, service: FoundService) -> str:
    variant, recipe = stored.manifest.get("variant") or {}, stored.manifest.get("recipe") or {}
    made = f"{variant['scheme']} on {variant['runtime']}" if {"scheme", "runtime"} <= variant.keys() else ""
    said = ". ".join(filter(None, [recipe.get("description"), made]))
    endpoints = {f"POST {api.route}": api.doc for api in service.service.apis.values()}
    lines = [f"- `{endpoint}`: {(doc or '').strip().partition(chr(10))[0]}" for endpoint, doc in endpoints.items()]
    about = [inspect.cleandoc(service.service.inner.__doc__ or ""), f"{said}." if said else ""]
    info = "- `GET /info`: the model's tag and digest."
    return "\n\n".join([f"# {name}", *filter(None, about), "\n".join([*lines, info])]) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
