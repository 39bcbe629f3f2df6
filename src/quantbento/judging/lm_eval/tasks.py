"""The tasks that a recipe names, from lm-eval's index and from a folder of the user's."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of, summary
from quantbento.recipe.lm_eval import LmEval, LmEvalTask

SEEDS = {"python": 0, "numpy": 1234, "fewshot": 1234}  # lm-eval's own: its figures are those of its command line


@dataclass(frozen=True)
class LoadedTasks:
    """`harness` is what `lm_eval.evaluator.evaluate` takes; `leaves` are the names of the tasks without groups below
    each task that the recipe names."""

    harness: dict[str, Any]
    leaves: dict[str, list[str]]


def unknown(spec: LmEval) -> dict[int, str]:
    """What is wrong with the names, by the task's index. Reads no data."""
    with quiet():
        index = _index(spec)
        broken = _broken_files(spec)
    known, tags = {*index.all_subtasks, *index.all_groups}, index.all_tags
    found = {}
    for number, wanted in enumerate(spec.tasks):
        name = wanted.task
        if name in known:
            continue
        if name in tags:
            members = sorted(index.task_index[name].tags)
            found[number] = f"{name!r} is lm-eval's tag of several tasks; name them: {one_of(members)}"
            continue
        own = "" if spec.include_path is None else f", nor a file in {spec.include_path}"
        hint = did_you_mean(name, known) or "; `lm-eval ls tasks` lists them"
        found[number] = f"lm-eval has no task {name!r}{own}{hint}{broken}"
    return found


def load(spec: LmEval) -> LoadedTasks:
    """Reads the tasks' data; what is on the hub is downloaded once.

    Raises:
        QuantbentoError: a task cannot be read, or does not have the metric or the examples that are asked for.
    """
    random.seed(SEEDS["python"])  # some tasks shuffle what they read
    np.random.seed(SEEDS["numpy"])
    harness: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    leaves = {}
    with quiet():
        index = _index(spec)
        for wanted in spec.tasks:
            one = _read(index, wanted, spec)
            leaves[wanted.task] = list(one["tasks"])
            if twice := sorted(set(one["tasks"]) & harness["tasks"].keys()):
                raise QuantbentoError(f"{wanted.task!r} holds {one_of(twice)}, which is listed already; leave one out")
            for kind, members in one.items():
                harness[kind] |= members
    return LoadedTasks(harness, leaves)


@contextmanager
def quiet() -> Iterator[None]:
    """Without lm-eval's remarks on every task and the bars of datasets; their errors are raised."""
    import datasets

    logger, shown = logging.getLogger("lm_eval"), datasets.is_progress_bar_enabled()
    before = logger.level
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(before)
        if shown:
            datasets.enable_progress_bars()


def _index(spec: LmEval) -> Any:
    """Of the user's folder, and of lm-eval's own thousands of files only where a name is not in it: they take
    seconds."""
    from lm_eval.tasks import TaskManager

    folder = spec.include_path
    if folder is None:
        return _whole_index(None, ())
    own = TaskManager(include_path=str(folder), include_defaults=False)
    if all(_holds(own, task.task) for task in spec.tasks):
        return own
    return _whole_index(str(folder), tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*.yaml"))))


def _holds(index: Any, name: str) -> bool:
    """Whether it has the task, or the group with all of its members."""
    entry = index.task_index.get(name)
    members = entry.cfg.get("task") if entry is not None and entry.cfg else None
    if not isinstance(members, list):
        return name in index.all_subtasks
    return all(_holds(index, m if isinstance(m, str) else m.get("group") or m.get("task")) for m in members)


@lru_cache(maxsize=1)
def _whole_index(include_path: str | None, stamps: tuple[Any, ...]) -> Any:
    """`stamps` are the user's files, which may change while a notebook is open."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path)


def _broken_files(spec: LmEval) -> str:
    """The user's files that lm-eval leaves out of its index without a word, because they do not load."""
    from lm_eval.tasks._yaml_loader import load_yaml

    told = []
    for path in sorted(spec.include_path.rglob("*.yaml")) if spec.include_path else ():
        try:
            load_yaml(path, resolve_func=False, recursive=True)
        except Exception as error:
            told.append(f"{path.name} cannot be read: {summary(error)}")
    return "".join(f"; {line}" for line in told)


def _read(index: Any, wanted: LmEvalTask, spec: LmEval) -> dict[str, Any]:
    name = wanted.task
    try:
        read = index.load([_with_own_files(index, name)])
        for task in read["tasks"].values():
            _set_fewshot(task, wanted, spec)
            task.set_fewshot_seed(seed=SEEDS["fewshot"])
    except QuantbentoError:
        raise
    except Exception as error:  # of many kinds, from a hub that is not reached to a template
        raise QuantbentoError(f"the task {name!r} cannot be read: {summary(error)}") from error
    for leaf, task in read["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False):
            raise QuantbentoError(f"{leaf!r} runs code that the model writes, which is not done here; leave it out")
        if getattr(task, "MULTIMODAL", False):
            raise QuantbentoError(f"{leaf!r} asks about images, which text-generation does not read; leave it out")
    if name in read["tasks"]:
        _check_metric(read["tasks"][name], wanted)
    return {"groups": {}, "group_map": {}, **read}


def _with_own_files(index: Any, name: str) -> Any:
    """The task with `data_files` that start at its YAML file, where they are there; lm-eval's start at the current
    folder.

    Raises:
        QuantbentoError: a file is in neither place.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = index.task_index[name]
    config = entry.cfg or {}
    given = config.get("dataset_kwargs") or {}
    if entry.yaml_path is None or not isinstance(config.get("task"), str) or not (files := given.get("data_files")):
        return name
    folder = entry.yaml_path.parent
    if isinstance(files, dict):
        placed: Any = {split: _placed(paths, folder, name) for split, paths in files.items()}
    else:
        placed = _placed(files, folder, name)
    return {**load_yaml(entry.yaml_path), "dataset_kwargs": {**given, "data_files": placed}}


def _placed(paths: Any, folder: Path, task: str) -> Any:
    if isinstance(paths, list):
        return [_placed(path, folder, task) for path in paths]
    if not isinstance(paths, str) or "://" in paths or "*" in paths:
        return paths
    if (folder / paths).is_file():
        return str(folder / paths)
    if not Path(paths).is_file():
        raise QuantbentoError(f"the task {task!r} reads {paths}, which is not in {folder}")
    return paths


def _set_fewshot(task: Any, wanted: LmEvalTask, spec: LmEval) -> None:
    """As lm-eval's command line: a task that fixes it at 0 keeps 0, unless the recipe says it of this very task."""
    own = task.get_config("num_fewshot")
    if wanted.num_fewshot is not None:
        chosen = wanted.num_fewshot
    else:
        chosen = own if own == 0 or spec.num_fewshot is None else spec.num_fewshot
    task.set_config(key="num_fewshot", value=chosen or 0)


def _check_metric(task: Any, wanted: LmEvalTask) -> None:
    has = [*task.aggregation()]
    if wanted.metric is not None and wanted.metric.partition(",")[0] not in has:
        hint = did_you_mean(wanted.metric, has)
        raise QuantbentoError(f"{wanted.task!r} has no metric {wanted.metric!r}{hint} (it has {one_of(has)})")
