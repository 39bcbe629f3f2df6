"""A service and the Bento it is built into: the Bento packs one model version, and serves that one for ever."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from bentoml.models import BentoModel

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.serving.errors import CannotServe


@dataclass(frozen=True)
class Packed:
    """The Bento that a service is in."""

    bento: str
    model: str  # its exact tag


def packed_in(folder: Path) -> Packed | None:
    """The Bento, where `folder` is its `src`; None elsewhere, and where it packs no model.

    Without it a service served from the local store by its Bento's tag would follow the newest version: BentoML
    does not pin one.
    """
    file = folder.parent / "bento.yaml"
    if folder.name != "src" or not file.is_file():
        return None
    description = yaml.safe_load(file.read_text(encoding="utf-8"))
    models = [model["tag"] for service in description.get("services") or [] for model in service["models"]]
    return Packed(f"{description['name']}:{description['version']}", str(models[0])) if models else None


def model_to_pack(tag: str) -> BentoModel:
    """What `bentoml build` packs: the version that a tag stands for now."""
    try:
        return BentoModel(store.find(tag).tag)
    except StoreError:
        return _Missing(tag)


class _Missing(BentoModel):
    """A service may be imported without its model; building or serving it says which command saves one. BentoML
    itself would look for it in the cloud, and complain of that."""

    def to_info(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.resolve()

    def resolve(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            store.find(str(self.tag))
        except StoreError as error:
            raise CannotServe(str(error)) from None
        raise CannotServe(f"{self.tag} was saved after the service was imported; run again")
