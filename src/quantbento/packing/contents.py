"""What is in a Bento: the model by its digest, the packages by their versions, the code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.packing.bentos import find
from quantbento.packing.build_files import pinned
from quantbento.runtimes import artifact
from quantbento.store.bento_description import BentoDescription

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

    path: Path
    bento: BentoDescription
    models: list[PackedModel]

    @classmethod
    def of(cls, tag: str) -> Contents:
        """
        Raises:
            QuantbentoError: there is no such Bento, or a model of it is missing or damaged.
        """
        path = Path(find(tag).path)
        bento = BentoDescription.read(path)
        try:
            models = [PackedModel.of(model) for model in bento.models]
        except StoreError as error:
            pull = f"bentoml models pull {' '.join(bento.models)}"
            raise StoreError(f"{bento.tag}: {error}. If it was pulled: {pull}") from None
        return cls(path, bento, models)

    @property
    def tag(self) -> str:
        return self.bento.tag

    @property
    def image(self) -> dict[str, Any]:
        """What the build file says of the image: base_image, python_version, system_packages."""
        return self._build_file.get("docker") or {}

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
