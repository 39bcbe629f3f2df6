"""Stores a variant's artifact: its manifest, its labels and its model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.inputs import draft_models
from quantbento.judging.report import card
from quantbento.judging.rows import ReferenceRow, VariantRow
from quantbento.making.fingerprint import FINGERPRINT
from quantbento.making.plan import Plan
from quantbento.recipe import Variant
from quantbento.store.judged import LABEL

# What a manifest's recipe leaves out: what the manifest says elsewhere, and the paths of files on this machine.
ELSEWHERE: dict[str, Any] = {
    "model": True,
    "evaluation": True,
    "variants": True,
    "calibration": {"path"},
    "training": {"path"},
}


def keep(
    plan: Plan,
    environment: dict[str, Any],
    compared: list[ReferenceRow],
    row: VariantRow,
    spec: Variant,
    folder: Path,
    more: dict[str, Any],
) -> store.StoredModel:
    """Stores what is in `folder`.

    Args:
        environment: of the machine, as the report has it.
        compared: the baseline, then the other references; none where nothing was judged.
        row: the variant's, as the report has it.
        spec: the variant, as the recipe has it.
        more: for the manifest.
    """
    recipe = plan.recipe
    content = {
        FINGERPRINT: plan.fingerprints[row.name],
        "variant": asdict(row),
        "baseline": asdict(compared[0]) if compared else None,
        "references": [asdict(r) for r in compared[1:]],
        "environment": environment,
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True, exclude=ELSEWHERE)
        | {"variants": [_without_paths(spec)]},
        "source": plan.source,
        **more,
    }
    labels = {
        **recipe.labels,
        "recipe": recipe.name,
        "task": recipe.task,
        "quantizer": row.quantizer,
        "scheme": row.scheme,
        "runtime": row.runtime,
        **({"passed": str(row.passed).lower()} if row.judged else LABEL),
        **({"samples": "placeholder"} if recipe.evaluation.placeholder else {}),
    }
    metadata = {
        "description": recipe.description or None,
        "size_bytes": row.size_bytes,
        "size_ratio": row.size_ratio,
        "speedup": row.speedup and row.speedup["median"],
        **row.metrics,
    }
    name = recipe.model_name(spec)
    card.write(folder, name, content, plan.identities.get("evaluation") or {})
    return store.save(name, folder, content, labels, metadata)


def _without_paths(spec: Variant) -> dict[str, Any]:
    """What a manifest says of a variant: of its draft model only the name."""
    told = spec.model_dump(mode="json", exclude_defaults=True)
    return {**told, "engine": draft_models.without_paths(spec.engine)} if spec.engine else told
