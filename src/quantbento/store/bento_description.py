"""What a Bento says about itself: `bento.yaml`, which `bentoml build` writes. The one place that knows its keys.

Services read it too, in images without the packages that build Bentos, so it needs nothing but PyYAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from quantbento.core.errors import StoreError, summary

FILE = "bento.yaml"


@dataclass(frozen=True)
class EntryService:
    """The service of a Bento that requests reach. The defaults apply where the Bento says nothing."""

    name: str = ""
    resources: dict[str, Any] = field(default_factory=dict)  # BentoML's hints: cpu, memory, gpu, gpu_type
    timeout_seconds: float | None = None  # for one request


@dataclass(frozen=True)
class BentoDescription:
    """`bento.yaml`, as far as this library uses it."""

    name: str
    version: str
    service: str  # as the build file names it: `service:Embedding`
    entry: EntryService
    models: tuple[str, ...]  # exact tags, each once; those of the entry service come first
    labels: dict[str, str]
    environment: dict[str, str]  # variables by name
    arguments: dict[str, Any] = field(default_factory=dict)  # settings that it was built with

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The description in a Bento's folder.

        Raises:
            StoreError: it is missing or damaged.
        """
        file = folder / FILE
        try:
            return cls._of(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise StoreError(
                f"{file} is damaged or missing ({summary(error)}). Build the Bento again: quantbento build"
            ) from None

    @classmethod
    def _of(cls, document: dict[str, Any]) -> Self:
        services = document.get("services") or []
        # If none has the entry's name, the first one counts.
        entry_first = sorted(services, key=lambda service: service.get("name") != document.get("entry_service"))
        tags = [str(model["tag"]) for service in entry_first for model in service.get("models") or []]
        return cls(
            name=str(document["name"]),
            version=str(document["version"]),
            service=str(document.get("service") or ""),
            entry=_entry(entry_first[0]) if entry_first else EntryService(),
            models=tuple(dict.fromkeys(tags)),
            labels={str(key): str(value) for key, value in (document.get("labels") or {}).items()},
            environment={env["name"]: str(env.get("value") or "") for env in document.get("envs") or []},
            arguments=document.get("args") or {},
        )


def _entry(service: dict[str, Any]) -> EntryService:
    config = service.get("config") or {}
    timeout = (config.get("traffic") or {}).get("timeout")
    return EntryService(
        name=str(service.get("name") or ""),
        resources=config.get("resources") or {},
        timeout_seconds=float(timeout) if timeout else None,
    )
