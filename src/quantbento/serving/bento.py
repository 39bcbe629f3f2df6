"""A service and the Bento it is built into: the Bento packs one model version, and serves that one for ever."""

from __future__ import annotations

from pathlib import Path

import yaml
from bentoml.models import BentoModel

from quantbento import store
from quantbento.errors import StoreError


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
    """What `bentoml build` packs: the version that a tag stands for now. Without such a model in the store it is the
    tag as it is, and building says that the model is missing."""
    try:
        return BentoModel(store.find(tag).tag)
    except StoreError:
        return BentoModel(tag)
