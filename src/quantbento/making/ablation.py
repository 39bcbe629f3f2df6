"""What each part of a variant is worth: the variant again with one part turned off, judged in the same way.

Nothing of it is stored. The table is `ablation.json` beside the report.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.core.stage_cache import StageCache
from quantbento.judging import benchmark
from quantbento.judging.rows import VariantRow
from quantbento.judging.without import WithoutBatching, WithoutCache
from quantbento.making.ablation_checks import turned_off
from quantbento.making.fingerprint import FINGERPRINT
from quantbento.making.plan import Plan
from quantbento.making.resolve import ResolvedVariant
from quantbento.making.variant import Maker
from quantbento.runtimes import artifact

SCHEMA_VERSION = 1
FILE = "ablation.json"
WITHOUT = {"batching": WithoutBatching, "kv_cache": WithoutCache}


def due(plan: Plan, folder: Path) -> ResolvedVariant | None:
    """The variant that the recipe takes apart, unless the table in `folder` is the one of just this variant."""
    wanted = plan.recipe.ablate
    variant = next((v for v in plan.resolved.variants if wanted and v.name == wanted.variant), None)
    if wanted is None or variant is None:  # a run of other variants
        return None
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return variant
    there = {row.get("off") for row in known.get("rows", ())}
    same = known.get(FINGERPRINT) == plan.fingerprints[variant.name] and there >= set(wanted.off)
    return None if same and variant not in plan.pending else variant


def ablate(maker: Maker, variant: ResolvedVariant, off: Sequence[str]) -> dict[str, Any]:
    """The table, as `ablation.json` holds it: the variant as a whole first.

    Args:
        maker: of the run that makes the variant, or made it before.
    """
    say = maker.job.progress.say
    whole = variant.row()
    made = next((row for row in maker.report.variants if row.name == variant.name and not row.reused), None)
    if made is None:  # its artifact is in the store, and what follows needs one here
        maker.judge(whole, variant, maker.folder(variant))
    rows = [_row(None, made or whole)]
    for part in off if not rows[0]["error"] else ():
        try:
            rows.append(_slower(maker, variant, part) if part in WITHOUT else _other(maker, variant, part))
        except QuantbentoError as error:
            rows.append({**dict.fromkeys(_COLUMNS), "off": part, "error": str(error)})
        say(f"{variant.name} without {part}: {_told(rows[-1])}")
    about = {"recipe": maker.plan.recipe.name, "variant": variant.name}
    return {"schema_version": SCHEMA_VERSION, **about, FINGERPRINT: maker.plan.fingerprints[variant.name], "rows": rows}


def write(folder: Path, table: Mapping[str, Any]) -> Path:
    """Writes the table in one step."""
    staged = folder / f"{FILE}.tmp"
    staged.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return staged.replace(folder / FILE)


def _other(maker: Maker, variant: ResolvedVariant, part: str) -> dict[str, Any]:
    """The variant quantized without a part."""
    name = f"{variant.name}-without-{part.replace('_', '-')}"
    options = turned_off(variant, part) or variant.options
    spec = variant.spec.model_copy(update={"name": name, "mixed": None, "on_fail": None})
    changed = replace(variant, spec=spec, options=options)
    job = maker.job
    if part == "calibration":  # and without what earlier runs made with it
        job = replace(maker.job, calibration=None, cache=StageCache())
    folder = job.workspace / "ablation" / name
    row = changed.row()
    try:
        replace(maker, job=job).judge(row, changed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _row(part, row)


def _slower(maker: Maker, variant: ResolvedVariant, part: str) -> dict[str, Any]:
    """The variant as it is, working without a part: its answers are the same, its speed is not."""
    references = maker.references
    loaded = artifact.load(maker.folder(variant), maker.threads, references.settings.device)
    name = f"{variant.name} without {part}"
    with contextlib.closing(loaded), maker.job.progress.stage(f"{name}: measure") as advance:
        timings = references.measure(name, WITHOUT[part](loaded), maker.samples.inputs, advance)
    speed = benchmark.speedup(timings[references.baseline.name], timings[name])
    return {**dict.fromkeys(_COLUMNS), "metrics": {}, "recovery": {}, "off": part, "speedup": asdict(speed)}


_COLUMNS = ("off", "metrics", "recovery", "size_bytes", "speedup", "quantize_seconds", "error")


def _row(part: str | None, row: VariantRow) -> dict[str, Any]:
    return {name: part if name == "off" else getattr(row, name) for name in _COLUMNS}


def _told(row: Mapping[str, Any]) -> str:
    if row["error"]:
        return str(row["error"])
    told = [f"{name} {value:.4g}" for name, value in (row["metrics"] or {}).items()]
    return ", ".join([*told, *([f"{row['speedup']['median']:.2f}x"] if row["speedup"] else [])])
