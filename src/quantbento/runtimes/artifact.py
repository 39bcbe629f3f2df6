"""An artifact: a folder that holds a model, what its task needs, and `artifact.json`, which says how to load it.

    artifact.json        {schema_version, task, task_config, runtime, runtime_config}
    model.onnx | .pkl    written by the quantizer
    tokenizer.json ...   written by the task
    objects.pkl          Python objects of the user's, where there are any

Loading unpickles: only load a folder you made, or one the store has verified.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from quantbento.core import registry
from quantbento.core.cores import default_threads
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.language_model import LanguageModel
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.text_generator import Generator
from quantbento.tasks.base import Task

Loaded = Predictor | Generator
DESCRIPTION = "artifact.json"
CUSTOM_OBJECTS = "objects.pkl"  # not BentoML's custom_objects.pkl, which it would unpickle and write anew
SCHEMA_VERSION = 1


def write(
    folder: Path, task: Task, runtime: str, runtime_config: dict[str, Any], custom_objects: dict[str, Any]
) -> None:
    """Completes a folder the model was written to."""
    description = {
        "schema_version": SCHEMA_VERSION,
        "task": task.name,
        "task_config": task.save(folder),
        "runtime": runtime,
        "runtime_config": task.runtime_config(runtime) | runtime_config,
    }
    if custom_objects:
        from quantbento.core.pickling import dump

        dump(custom_objects, folder / CUSTOM_OBJECTS, classes=list(custom_objects.values()))
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")


def describe(folder: Path) -> dict[str, Any]:
    """`artifact.json`, without loading anything."""
    return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))


def load_task(folder: Path) -> Any:
    """The task alone: what the model takes and gives, without its weights."""
    description = describe(folder)
    return registry.task(description["task"]).load(folder, description["task_config"])


def load(folder: Path, threads: int | None = None) -> Loaded:
    """What is in a folder, ready to be called, on `threads` CPU cores (all by default).

    Raises:
        QuantbentoError: a package that the runtime needs is missing.
    """
    description = describe(folder)
    threads = threads or default_threads()
    name = description["runtime"]
    try:
        task = load_task(folder)
        runtime = registry.runtime(name).load(
            folder, description["runtime_config"], threads=threads, concurrent=task.concurrent
        )
    except ModuleNotFoundError as error:
        raise QuantbentoError(
            f"the {name} runtime needs the package {error.name!r}, which is not installed; "
            f"run: pip install 'quantbento[{name}]'"
        ) from error
    custom_objects = {}
    if (folder / CUSTOM_OBJECTS).is_file():
        with (folder / CUSTOM_OBJECTS).open("rb") as file:
            custom_objects = pickle.load(file)
    if isinstance(runtime, LanguageModel):
        return Generator(task, runtime, custom_objects)
    return Predictor(task, runtime, custom_objects, threads)


def size_bytes(folder: Path) -> int:
    """Bytes on disk of everything that is stored."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
