"""Bentos in a separate store, as `bentoml build` describes them, without code or models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CPU = {"cpu": "2", "memory": "1Gi"}
GPU = {"cpu": "4", "memory": "24Gi", "gpu": 1}


def write_bento(
    store: Path,
    tag: str = "my-encoder:v1",
    resources: dict[str, Any] | None = None,
    timeout: float | None = 10,
    service: str = "Embedding",
    model: str = "my-model:0a1b",
    runtime: str | None = None,
) -> str:
    """Writes a Bento with one service, and a label for the runtime if one is given. Returns its tag."""
    name, _, version = tag.partition(":")
    config: dict[str, Any] = {"resources": CPU if resources is None else resources, "workers": 1}
    if timeout is not None:
        config["traffic"] = {"timeout": timeout, "max_concurrency": 512}
    packed = {"tag": model, "module": "", "creation_time": "2026-11-01T00:00:00+00:00"}
    description = {
        "service": f"service:{service}",
        "name": name,
        "version": version,
        "bentoml_version": "1.4.39",
        "creation_time": "2026-11-01T00:00:00+00:00",
        "labels": {} if runtime is None else {"runtime": runtime},
        "models": [],
        "entry_service": service,
        "services": [{"name": service, "service": "", "models": [packed], "dependencies": [], "config": config}],
        "envs": [],
        "schema": {},
        "args": {},
        "spec": 2,
        "image": {"base_image": "python:3.11-slim", "python_version": "3.11", "commands": []},
    }
    folder = store / name / version
    folder.mkdir(parents=True)
    (folder / "bento.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
    (folder.parent / "latest").write_text(version)
    return tag
