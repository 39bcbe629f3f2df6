"""What a Bento asks of a machine: its description's resource hints and request timeout, as Kubernetes writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento.core.errors import one_of
from quantbento.packing.bentos import find, runtime_of
from quantbento.store.bento_description import BentoDescription

BENTOML_TIMEOUT = 60  # seconds, of a service that names none
QUANTITIES = {"cpu": r"\d+(\.\d+)?|\d+m", "memory": r"\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)"}
EXAMPLES = {"cpu": ("2", "0.5", "500m"), "memory": ("512Mi", "2Gi")}


@dataclass(frozen=True)
class Needs:
    """None where a Bento does not say."""

    name: str
    version: str
    model: str | None  # its name
    runtime: str | None  # its name
    cpu: str | None
    memory: str | None
    gpu: int | None
    gpu_type: str | None
    timeout_seconds: float

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}"


def needs_of(tag: str, problems: list[str]) -> Needs:
    """What the entry service of a Bento asks for; adds to `problems` what Kubernetes cannot give.

    Raises:
        QuantbentoError: no such Bento in BentoML's store.
    """
    bento = BentoDescription.read(Path(find(tag).path))
    resources, runtime = bento.entry.resources, runtime_of(bento)
    return Needs(
        name=bento.name,
        version=bento.version,
        model=bento.models[0].partition(":")[0] if bento.models else None,
        runtime=runtime.name if runtime else None,
        cpu=_quantity("cpu", resources.get("cpu"), "", problems),
        memory=_quantity("memory", resources.get("memory"), "Gi", problems),
        gpu=_gpus(resources.get("gpu") or 0, problems),
        gpu_type=resources.get("gpu_type"),
        timeout_seconds=bento.entry.timeout_seconds or BENTOML_TIMEOUT,
    )


def _quantity(what: str, value: Any, unit: str, problems: list[str]) -> str | None:
    """A resource hint; BentoML counts a number without a unit in cores, or in GiB."""
    if value is None:
        return None
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    text += unit if re.fullmatch(r"\d+(\.\d+)?", text) else ""
    if not re.fullmatch(QUANTITIES[what], text):
        problems.append(f"{what}={value!r} is no quantity of Kubernetes' (for example {one_of(EXAMPLES[what])})")
    return text


def _gpus(value: float | str, problems: list[str]) -> int | None:
    if float(value) != int(float(value)):
        problems.append(f"gpu={value}: Kubernetes gives whole GPUs; build it with gpu=1 or more")
    return int(float(value)) or None
