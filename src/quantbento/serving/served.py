"""What every service serves: a stored model by tag. Until the service starts it is a name."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

from quantbento import __version__, store
from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import missing_packages
from quantbento.runtimes import artifact
from quantbento.serving.bento import Packed, packed_in
from quantbento.serving.choice import only_model
from quantbento.serving.errors import CannotServe
from quantbento.serving.settings import PREFIX, Settings
from quantbento.store import signing
from quantbento.store.judged import require_judged

logger = logging.getLogger("bentoml.serve")
SERVICES: dict[str, str] = {}  # `module:Class` of each service that was defined, by the task it is for


class Served(ABC):
    """
    Args:
        settings: `settings.model` names the model.
        task: what the service is for, as artifacts name it; a model for another task is refused.
        default: the tag where the settings name none; without it, the only stored model of the task.
        packed: the Bento that the service is in; its model is the one that is served, whatever the settings say.
            BentoML imports a Bento's service in the Bento's folder, where it is found by itself.
    """

    def __init__(self, settings: Settings, task: str, default: str | None = None, packed: Packed | None = None) -> None:
        self.settings, self.task_name = settings, task
        self.packed = packed or packed_in(Path.cwd())
        self._named = self.packed.model if self.packed else settings.model or default

    @cached_property
    def tag(self) -> str:
        """The model's tag, as it was named.

        Raises:
            StoreError: none is named, and the store has no model of the task, or several.
        """
        return self._named or only_model(
            self.task_name, f"bentoml serve {SERVICES.get(self.task_name)} --arg model={{name}}"
        )

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the model can answer now."""

    @cached_property
    def stored(self) -> store.StoredModel:
        """The version that the tag stood for first: a newer one in the store changes nothing until the next start.

        Raises:
            StoreError: there is no such model, or none is named.
        """
        return store.find(self.tag)

    def preflight(self) -> None:
        """Before any worker starts: what cannot be served ends `bentoml serve` with one message.

        Raises:
            CannotServe: a setting or the file that it names is wrong; one names another model than the Bento's; the
                model is missing, damaged, or for another task; a package that its runtime needs is not installed.
        """
        if self.settings.problem:
            raise CannotServe(self.settings.problem)
        self.refuse_another_model()
        try:
            self.settings.check_files()
            self.check_version(self.stored)
            if self.stored.chosen:
                logger.info("%s is %s: %s", self.tag, self.stored.tag, self.stored.chosen)
        except QuantbentoError as error:
            raise CannotServe(str(error)) from None
        from quantbento.serving import bentoml_workers  # only where workers are started

        bentoml_workers.install()
        if not self._named:  # for the workers, which may be started again when the store has others
            os.environ[f"{PREFIX}MODEL"] = self.stored.tag

    def check_version(self, stored: store.StoredModel) -> None:
        """Whether this service may and can serve a stored version.

        Raises:
            QuantbentoError: it is damaged, was not judged, or see `check`.
            CannotServe: see `check_signature`.
        """
        stored.verify()
        require_judged(stored)
        if self.settings.signature_rule == "require":  # a warning is each worker's
            self.check_signature(stored)
        self.check(artifact.describe(stored.path), stored.tag)

    def check(self, description: dict[str, Any], tag: str | None = None) -> None:
        """Whether this service can serve the model that an `artifact.json` describes, here; `tag` is for the message.

        Raises:
            QuantbentoError: says why not.
        """
        tag = tag or self.stored.tag
        if (task := description["task"]) != self.task_name:
            other = SERVICES.get(task)
            run = f". Run: bentoml serve {other} --arg model={tag}" if other else ""
            raise QuantbentoError(
                f"{tag} is a model for {task} on {description['runtime']}; this service serves {self.task_name}{run}"
            )
        check_packages(description)
        try:
            artifact.device_of(description, self.settings.wanted_device, tag)
        except QuantbentoError as error:
            given = f"gpu={self.settings.gpu}" if self.settings.gpu else f"device={self.settings.wanted_device}"
            told = f"{error}. The service was given {given}: leave it out, or serve another model"
            raise QuantbentoError(told) from None

    def check_signature(self, stored: store.StoredModel) -> None:
        """Before anything of a model is loaded: whether it is signed, where the settings ask for it.

        Raises:
            CannotServe: says why it is not trusted; with `signatures` "warn" it is logged instead. Or the keys cannot
                be used.
        """
        if self.settings.problem:  # these settings are the defaults, which ask for nothing
            raise CannotServe(self.settings.problem)
        if self.settings.signature_rule == "off":
            return
        try:
            signing.check(stored.path, stored.tag, self.settings.trusted_key_files)
        except QuantbentoError as error:
            if self.settings.signature_rule == "require" or not isinstance(error, signing.NotTrusted):
                raise CannotServe(str(error)) from None
            logger.warning("%s", error)

    def refuse_another_model(self) -> None:
        """Raises `CannotServe` where the environment names a model and the Bento packs another: it would have no
        effect."""
        wanted = os.environ.get(f"{PREFIX}MODEL")
        if self.packed and wanted and wanted not in (self.tag, self.tag.partition(":")[0]):
            raise CannotServe(
                f"{PREFIX}MODEL={wanted}, but {self.packed.bento} packs {self.tag} and serves that one. "
                f"Build another Bento: quantbento build <name> --model {wanted}"
            )

    def openapi_additions(self) -> dict[str, Any]:
        """What the service's OpenAPI document says of endpoints that are not BentoML's; empty without any."""
        return {}

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


def check_packages(description: dict[str, Any]) -> None:
    """Whether what the model of an `artifact.json` is run with is installed.

    Raises:
        QuantbentoError: names a missing package and what installs it.
    """
    runtime, task = registry.runtime(description["runtime"]), registry.task(description["task"])
    if missing := missing_packages(runtime.modules):
        raise QuantbentoError(
            f"the {runtime.name} runtime needs the package {missing[0]!r}, which is not installed; "
            f"run: pip install {artifact.installs(runtime, missing[0])}"
        )
    if missing := missing_packages(task.modules):
        installs = f"'quantbento[{task.extra}]'" if task.extra else " ".join(task.distributions)
        raise QuantbentoError(
            f"models for {task.name} need the package {missing[0]!r}, which is not installed; "
            f"run: pip install {installs}"
        )
