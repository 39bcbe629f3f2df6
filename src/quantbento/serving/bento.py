"""A service and the Bento it is built into: the Bento packs one model version, and serves that one only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bentoml.models import BentoModel

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.serving.errors import CannotServe
from quantbento.store import bento_description
from quantbento.store.bento_description import BentoDescription


@dataclass(frozen=True)
class Packed:
    """The Bento that a service is in."""

    bento: str
    model: str  # its exact tag
    service: str = ""  # the name of the service that it was built with


def packed_in(folder: Path) -> Packed | None:
    """The Bento, where `folder` is its `src`; None elsewhere, and where it packs no model.

    Without it a service served from the local store by its Bento's tag would follow the newest version: BentoML
    does not pin one.
    """
    if folder.name != "src" or not (folder.parent / bento_description.FILE).is_file():
        return None
    bento = BentoDescription.read(folder.parent)
    return Packed(bento.tag, bento.models[0], bento.entry.name) if bento.models else None


def model_to_pack(tag: str, problem: str | None = None) -> BentoModel:
    """What `bentoml build` packs: the version that a tag stands for now.

    A service may be imported without its model, or with wrong settings (`problem`): to build or serve it then says
    what is wrong. Of a missing model BentoML itself would say that the cloud does not have it.
    """
    try:
        return _Refused(problem) if problem else BentoModel(store.find(tag).tag)
    except StoreError as error:
        return _Refused(str(error))


class _Refused(BentoModel):
    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__("refused")
        object.__setattr__(self, "reason", reason)  # the base is frozen

    def to_info(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise CannotServe(self.reason)

    def resolve(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise CannotServe(self.reason)
