"""An artifact: a folder that holds a model, what its task needs, and `artifact.json`, which says how to load it.

    artifact.json        {schema_version, task, task_config, runtime, runtime_config}
    model.onnx | .pkl    written by the quantizer
    tokenizer.json ...   written by the task
    objects.pkl          the user's Python objects, where there are any

Loading unpickles: only load a folder you made, or one the store has verified.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import default_threads, devices
from quantbento.runtimes.loaded import LoadedModel
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.text_generator import TextGenerator

if TYPE_CHECKING:
    from quantbento.runtimes.base import Runtime
    from quantbento.tasks.base import Task

DESCRIPTION = "artifact.json"
CUSTOM_OBJECTS = "objects.pkl"  # not BentoML's custom_objects.pkl, which it would unpickle and rewrite
SCHEMA_VERSION = 1


def write(
    folder: Path,
    task: Task,
    runtime: type[Runtime],
    runtime_config: dict[str, Any],
    custom_objects: dict[str, Any],
    engine: dict[str, Any] | None = None,
) -> None:
    """Completes a folder that the model was written to.

    Args:
        folder: the artifact folder.
        task, runtime: what the model is for, and what runs it.
        runtime_config: what the runtime needs to load it, as JSON.
        custom_objects: Python objects that are stored with the model, by name.
        engine: the recipe's engine settings, for a runtime that has `Settings`.
    """
    if runtime.Settings is not None:
        settings = runtime.Settings.model_validate(engine or {})
        runtime_config = {"engine": settings.model_dump(mode="json", exclude_defaults=True)} | runtime_config
    description = {
        "schema_version": SCHEMA_VERSION,
        "task": registry.name_of("task", type(task)),
        "task_config": task.save(folder),
        "runtime": registry.name_of("runtime", runtime),
        "runtime_config": runtime_config,
    }
    if custom_objects:
        from quantbento.core.pickling import dump

        dump(custom_objects, folder / CUSTOM_OBJECTS, classes=list(custom_objects.values()))
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")


def describe(folder: Path) -> dict[str, Any]:
    """`artifact.json`, without loading anything."""
    return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))


def load_task(folder: Path) -> Any:
    """The task alone: what the model takes and returns, without its weights."""
    description = describe(folder)
    return registry.task(description["task"]).load(folder, description["task_config"])


def load(folder: Path, threads: int | None = None) -> LoadedModel:
    """The model in an artifact folder, ready to be called, on `threads` CPU cores (all by default).

    Raises:
        QuantbentoError: a package that the runtime needs is missing.
    """
    description = describe(folder)
    threads = threads or default_threads()
    kind = registry.runtime(description["runtime"])
    try:
        task = load_task(folder)
        custom_objects = _custom_objects(folder)
        config = description["runtime_config"]
        if side_by_side := kind.concurrent and task.concurrent:
            runtime = kind.load_shared(folder, config, threads=1, callers=threads)
        else:
            runtime = kind.load(folder, config, threads=threads)
    except ModuleNotFoundError as error:
        raise QuantbentoError(
            f"the {kind.name} runtime needs the package {error.name!r}, which is not installed; "
            f"run: pip install {installs(kind, str(error.name))}"
        ) from error
    if kind.contract == "tokens":
        return TextGenerator(task, runtime, custom_objects)
    return Predictor(task, runtime, custom_objects, parallel=threads if side_by_side else 1)


def _custom_objects(folder: Path) -> dict[str, Any]:
    if not (folder / CUSTOM_OBJECTS).is_file():
        return {}
    try:
        with (folder / CUSTOM_OBJECTS).open("rb") as file:
            return pickle.load(file)
    except ModuleNotFoundError as error:
        raise QuantbentoError(
            f"the custom objects saved with the model need the package {error.name!r}, which is not installed; "
            f"run: pip install {error.name}"
        ) from error


def installs(declared: Any, missing: str) -> str:
    """What pip installs to get a missing package of a runtime or a quantizer."""
    on_cpu = None if "cuda" in devices() else getattr(declared, "cpu_extra", None)
    extra = on_cpu or declared.extra
    return f"'quantbento[{extra}]'" if extra else missing


def size_bytes(folder: Path) -> int:
    """Bytes on disk of all files in a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
