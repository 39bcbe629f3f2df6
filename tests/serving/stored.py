"""Stored stand-ins: they say what they are for, and cannot be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import registry
from quantbento.runtimes import artifact


def save_stand_in(name: str, task: str, folder: Path, runtime: str = "onnx", **content: Any) -> store.StoredModel:
    """Stores a model of that name; `content` goes into its manifest. Another call with it makes another version."""
    folder.mkdir(parents=True, exist_ok=True)
    known = registry.runtime(runtime).devices if runtime in registry.RUNTIMES else ("cpu",)
    described = {"schema_version": 1, "task": task, "runtime": runtime, "devices": known}
    (folder / artifact.DESCRIPTION).write_text(json.dumps(described))
    return store.save(name, folder, {"variant": {"scheme": "int8-dynamic", "runtime": runtime}} | content, {}, {})
