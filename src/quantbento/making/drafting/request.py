"""What `quantbento init` is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """The command line. Names are the recipe's where both have them; `base` is the model that an adapter is for."""

    source: str
    task: str | None = None
    name: str | None = None
    evaluation: str | None = None
    calibration: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: list[str] | None = None
    level: str = "99"
    base: str | None = None
    weights: Path | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    output: Path | None = None
    force: bool = False
