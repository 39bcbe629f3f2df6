"""What every service has: a stored model by tag. Until the service starts it is a name."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from quantbento import __version__, store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe
from quantbento.serving.settings import PREFIX, Settings


class Served:
    """
    Args:
        settings: `settings.model` names the model.
        default: the tag where it names none.
        packed: the Bento that the service is in; its model is the one that is served, whatever the settings say.
    """

    def __init__(self, settings: Settings, default: str, packed: Packed | None = None) -> None:
        self.settings, self.packed = settings, packed
        self.tag = packed.model if packed else settings.model or default

    @cached_property
    def stored(self) -> store.StoredModel:
        """The version that the tag stood for first: a newer one in the store changes nothing until the next start.

        Raises:
            StoreError: there is no such model.
        """
        return store.find(self.tag)

    def verified(self) -> store.StoredModel:
        """The stored model, before any worker starts.

        Raises:
            CannotServe: it is missing or damaged; or a setting is another service's, or names another model than the
                Bento's.
        """
        self.settings.refuse_others()
        self.refuse_another_model()
        try:
            self.stored.verify()
        except QuantbentoError as error:
            raise CannotServe(str(error)) from None
        return self.stored

    def refuse_another_model(self) -> None:
        """Raises `CannotServe` where the environment names a model and the Bento packs another: it would have no
        effect."""
        wanted = os.environ.get(f"{PREFIX}MODEL")
        if self.packed and wanted and wanted not in (self.tag, self.tag.partition(":")[0]):
            raise CannotServe(
                f"{PREFIX}MODEL={wanted}, but {self.packed.bento} packs {self.tag} and serves that one. "
                f"Build another Bento: quantbento build <name> --model {wanted}"
            )

    def info(self) -> dict[str, Any]:
        """What `GET /info` answers; raises `StoreError` where the model is missing or its manifest damaged."""
        stored = self.stored
        description = artifact.describe(stored.path)
        return {
            "model": stored.tag,
            "digest": stored.digest,
            "task": description["task"],
            "runtime": description["runtime"],
            "scheme": stored.manifest.get("variant", {}).get("scheme"),
            "bento": self.packed.bento if self.packed else None,
            "quantbento": __version__,
        }
