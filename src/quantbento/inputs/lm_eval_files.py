"""What identifies the tasks of lm-eval that a recipe names."""

from __future__ import annotations

from typing import Any

from quantbento.core.machine import package_versions
from quantbento.inputs.folders import hash_files
from quantbento.recipe.lm_eval import LmEval


def identity(spec: LmEval) -> dict[str, Any]:
    """The settings, the user's folder of tasks by content, and lm-eval's version: it holds all other tasks."""
    settings = spec.model_dump(exclude={"include_path"}, exclude_none=True)
    folder = spec.include_path
    own = folder and hash_files(sorted(path for path in folder.rglob("*") if path.is_file()), folder)
    return {"settings": settings, "own tasks": own, "packages": package_versions(["lm-eval"])}
