"""An artifact: a folder that holds a model, what its task needs, and `artifact.json`, which says how to load it.

    artifact.json        {schema_version, task, task_config, runtime, runtime_config, devices}
    model.onnx | .pkl    written by the quantizer
    tokenizer.json ...   written by the task
    objects.pkl          the user's Python objects, where there are any

Loading unpickles: only load a folder you made, or one the store has verified.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core import registry
from quantbento.core.devices import AUTO, choose
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
    devices: Sequence[str] | None = None,
) -> None:
    """Completes a folder that the model was written to.

    Args:
        folder: the artifact folder.
        task, runtime: what the model is for, and what runs it.
        runtime_config: what the runtime needs to load it, as JSON.
        custom_objects: Python objects that are stored with the model, by name.
        engine: the recipe's engine settings, for a runtime that has `Settings`.
        devices: kinds of devices that can run it; all of the runtime's by default.
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
        "devices": list(runtime.devices if devices is None else devices),
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


def devices_of(description: dict[str, Any]) -> list[str]:
    """The kinds of devices that can run an artifact."""
    if "devices" in description:
        return description["devices"]
    runtime = registry.runtime(description["runtime"])  # of an artifact that an older version made
    return list(runtime.devices) if runtime.contract == "tokens" else ["cpu"]


def device_of(description: dict[str, Any], asked: str = AUTO, name: str = "this model") -> str:
    """The device that an artifact runs on here; `name` is for the message.

    Raises:
        QuantbentoError: it cannot run on the device that was asked for.
    """
    runtime = registry.runtime(description["runtime"])
    return choose(asked, devices_of(description), runtime.device_problem, name)


def load(
    folder: Path, threads: int | None = None, device: str = AUTO, engine: dict[str, Any] | None = None
) -> LoadedModel:
    """The model in an artifact folder, ready to be called.

    Args:
        folder: the artifact folder.
        threads: CPU cores to use; all by default.
        device: `auto` is a GPU where this machine has one and the model can use it, else the CPU.
        engine: settings of its engine in place of those it has.

    Raises:
        QuantbentoError: a package that the runtime needs is missing, or the model cannot run on the device.
    """
    description = describe(folder)
    threads = threads or default_threads()
    kind = registry.runtime(description["runtime"])
    try:
        task = load_task(folder)
        custom_objects = _custom_objects(folder)
        config = description["runtime_config"]
        if engine is not None:
            config = {**config, "engine": {**config.get("engine", {}), **engine}}
        device = device_of(description, device)
        if side_by_side := kind.concurrent and task.concurrent and device == "cpu":
            runtime = kind.load_shared(folder, config, threads=1, callers=threads)
        else:
            elsewhere = {} if device == "cpu" else {"device": device}  # runtimes for CPUs only need not take it
            runtime = kind.load(folder, config, threads=threads, **elsewhere)
        runtime.device = device
    except ModuleNotFoundError as error:
        raise QuantbentoError(
            f"the {kind.name} runtime needs the package {error.name!r}, which is not installed; "
            f"run: pip install {installs(kind, str(error.name))}"
        ) from error
    if kind.contract == "tokens":
        return TextGenerator(task, runtime, custom_objects)
    return Predictor(task, runtime, custom_objects, parallel=threads if side_by_side else kind.calls_at_once)


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
