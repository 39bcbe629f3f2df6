"""What is in a Bento: the model by its digest, the packages by their versions, the code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.packing.bentos import describe, entry_service, find
from quantbento.packing.build_files import pinned
from quantbento.runtimes import artifact

DEFAULT_PYTHON = "3.11"


@dataclass(frozen=True)
class PackedModel:
    """A model that a Bento names; its files are in the model store."""

    stored: store.StoredModel
    digest: str
    size_bytes: int
    scheme: str

    @classmethod
    def of(cls, tag: str) -> PackedModel:
        """Raises `StoreError` where the model is not in the store, or not as it was saved."""
        stored = store.find(tag)
        scheme = stored.verify().get("variant", {}).get("scheme", "")
        return cls(stored, stored.digest, artifact.size_bytes(stored.path), scheme)


@dataclass(frozen=True)
class Contents:
    """A Bento in BentoML's store."""

    tag: str
    path: Path
    description: dict[str, Any]  # bento.yaml
    models: list[PackedModel]

    @classmethod
    def of(cls, tag: str) -> Contents:
        """
        Raises:
            QuantbentoError: there is no such Bento, or a model of it is missing or damaged.
        """
        bento = find(tag)
        path, exact = Path(bento.path), str(bento.tag)
        description = describe(bento)
        names = [m["tag"] for service in description.get("services") or [] for m in service.get("models") or []]
        try:
            models = [PackedModel.of(name) for name in dict.fromkeys(names)]
        except StoreError as error:
            raise StoreError(f"{exact}: {error}. If it was pulled: bentoml models pull {' '.join(names)}") from None
        return cls(exact, path, description, models)

    @property
    def name(self) -> str:
        return self.tag.partition(":")[0]

    @property
    def version(self) -> str:
        return self.tag.partition(":")[2]

    @property
    def service(self) -> str:
        return str(self.description["service"])

    @property
    def resources(self) -> dict[str, Any]:
        """Hints of the service: cpu, memory, gpu, gpu_type."""
        return (entry_service(self.description).get("config") or {}).get("resources") or {}

    @property
    def image(self) -> dict[str, Any]:
        """What the build file says of the image: base_image, python_version, system_packages."""
        return self._build_file.get("docker") or {}

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the build file."""
        return {env["name"]: str(env.get("value") or "") for env in self.description.get("envs") or []}

    @property
    def python_version(self) -> str:
        return str(self.image.get("python_version") or DEFAULT_PYTHON)

    @property
    def requirements(self) -> Path:
        return self.path / "env" / "python" / "requirements.txt"

    @cached_property
    def packages(self) -> dict[str, str]:
        """Versions by name."""
        return pinned(self.requirements.read_text(encoding="utf-8").splitlines())

    @property
    def code_bytes(self) -> int:
        return artifact.size_bytes(self.path)

    @cached_property
    def _build_file(self) -> dict[str, Any]:
        return yaml.safe_load((self.path / "src" / "bentofile.yaml").read_text(encoding="utf-8"))
