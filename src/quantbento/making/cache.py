"""What the stages of a run depend on. A stage with the same dependencies need not be done again
(`quantbento.core.stage_cache` keeps them).

All stages depend on the model, the samples, the recipe but for what is only judged or stored by, this machine, the
installed packages and quantbento's own source. A variant's stages depend on its options, too. Nothing is left out
because it might not matter: a stage that is done once too often costs time, one that is wrongly reused a wrong report.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import pickle
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache as once
from pathlib import Path
from typing import Any

from quantbento import __version__
from quantbento.core import machine, registry, user_code
from quantbento.core.cache import cache_folder
from quantbento.core.progress import Progress
from quantbento.core.stage_cache import StageCache, limit_bytes
from quantbento.inputs.folders import hash_folder
from quantbento.judging.rows import VariantRow
from quantbento.making.plan import Plan
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.store.manifest import hash_files
from quantbento.tasks.source import SourceModel

STAGES = "stages"  # a folder in the cache
# Judging by gates and storing is done again in every run, and speed is measured again.
LATER = {"name", "description", "labels", "gates", "variants", "benchmark", "ablate"}


def stages(planned: Plan, source: SourceModel, device: str, threads: int, anew: bool, progress: Progress) -> StageCache:
    """The finished stages of earlier runs of the same recipe with the same inputs on the same machine.

    Args:
        source: the loaded model. What a factory returned may differ from one run to the next, so it is hashed.
        device: what the models run on.
        threads: CPU threads of a loaded model.
        anew: use nothing of an earlier run.

    Raises:
        QuantbentoError: the limit of the cache is no number.
    """
    if not (limit := limit_bytes()):
        return StageCache()
    resolved, recipe = planned.resolved, planned.recipe
    try:
        made = _made_samples(resolved)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        progress.say(f"finished stages are not kept for a resumed run: the samples cannot be hashed: {error}")
        return StageCache()
    common = {
        "quantbento": [__version__, _own_source()],
        "packages": _installed(),
        "machine": machine.describe(threads, (), device),
        "recipe": recipe.model_dump(mode="json", exclude=LATER),
        "task": registry.identity("task", recipe.task),
        "functions": [user_code.identity(name) for name in user_code.named_in([resolved.options, recipe.evaluation])],
        "inputs": planned.identities,
        "model": made_model(resolved, source),
        "samples": made,
    }
    return StageCache(cache_folder(STAGES), common, limit, anew, progress.say)


def depends_on(variant: ResolvedVariant) -> dict[str, Any]:
    """What quantizing a variant and measuring its layers depend on beside what all stages do. Settings of the engine
    that will run it are none of that: variants that differ in them alone are quantized once."""
    spec = variant.spec
    runtime = registry.name_of("runtime", variant.runtime)
    return {
        "variant": spec.model_dump(mode="json", exclude={"name", "gates", "judge", "engine"}),
        "options": variant.options.model_dump(mode="json"),
        "functions": [user_code.identity(function) for function in user_code.named_in(variant.options)],
        "quantizer": registry.identity("quantizer", spec.quantizer),
        "runtime": [runtime, registry.identity("runtime", runtime)],
        "devices": list(variant.devices),
    }


@contextlib.contextmanager
def kept_evaluation(
    cache: StageCache, row: VariantRow, artifact: Path, baseline: str, stage: str = "evaluated"
) -> Iterator[bool]:
    """Yields whether an earlier run did this stage with the same artifact, and then has filled the row. If not, what
    the body changes in the row is kept."""
    if cache.folder is None:
        yield False
        return
    depends = {"artifact": hash_files(artifact), "baseline": baseline}
    known = cache.restore(stage, depends)
    for name, value in (known or {}).items():
        setattr(row, name, value)
    before = asdict(row)
    yield known is not None
    if known is None:
        cache.keep(stage, depends, {k: v for k, v in asdict(row).items() if v != before[k]})


def made_model(resolved: ResolvedRecipe, source: SourceModel) -> str | None:
    """The hash of a model that a function made; of others, their identity is enough."""
    if not resolved.recipe.model.factory:
        return None
    if resolved.task.on_disk and source.folder is not None:
        return hash_folder(source.folder)
    total = hashlib.sha256()
    state = source.module.state_dict() if source.module is not None else {}
    for name, tensor in state.items():
        total.update(f"{name} {getattr(tensor, 'dtype', None)} {tuple(getattr(tensor, 'shape', ()))}\n".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def _bytes(tensor: Any) -> bytes:
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.is_quantized:
        return pickle.dumps(tensor)
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _made_samples(resolved: ResolvedRecipe) -> dict[str, str]:
    """The hashes of samples that a function or a data set gave; of files, their identity is enough."""
    made = [kind for kind, spec in resolved.inputs.specs.items() if spec.path is None]
    sets = {kind: resolved.inputs.samples(kind) for kind in made}
    return {kind: hashlib.sha256(pickle.dumps((s.inputs, s.labels))).hexdigest() for kind, s in sets.items()}


@once
def _own_source() -> str:
    """The hash of the library's source: two checkouts of one version may differ."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


@once
def _installed() -> str:
    """The hash of all installed packages' versions."""
    found = sorted(f"{d.metadata['Name']} {d.version}" for d in importlib.metadata.distributions())
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
