"""A service and the Bento it is built into: the Bento packs one model version, and serves that one for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml
from bentoml.models import BentoModel

from quantbento import store
from quantbento.errors import StoreError
from quantbento.serving.errors import CannotServe


def packed_model(folder: Path) -> str | None:
    """The tag of the model that a Bento was built with, where `folder` is the Bento's `src`; None elsewhere.

    Without it a service served from the local store by its Bento's tag would follow the newest version: BentoML
    does not pin one.
    """
    description = folder.parent / "bento.yaml"
    if folder.name != "src" or not description.is_file():
        return None
    services = yaml.safe_load(description.read_text(encoding="utf-8")).get("services") or []
    models = [model["tag"] for service in services for model in service["models"]]
    return str(models[0]) if models else None


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
