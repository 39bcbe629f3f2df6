"""`Default`, the last line of a `service.py`: the service whose task is that of the model to serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import bentoml

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.serving.bento import model_to_pack, packed_in
from quantbento.serving.choice import named, only_model, task_of
from quantbento.serving.errors import CannotServe
from quantbento.serving.served import SERVICES


def default_service() -> Any:
    """One of the services that were defined so far: in a Bento the one that it was built with, else that for the task
    of the model that is named, or of the only stored one. Where no model can be chosen, a service that says why
    instead of starting or being built."""
    packed = packed_in(Path.cwd())
    # By its name: the model of a Bento that was pulled may not be here yet.
    for target in SERVICES.values():
        if packed and packed.service == target.partition(":")[2]:
            return _service(target)
    try:
        stored = store.find(packed.model if packed else named() or only_model())
        task = task_of(stored)
        if task not in SERVICES:
            raise StoreError(
                f"{stored.tag} is a model for {task}; this file has services for {', '.join(SERVICES) or 'no task'}. "
                f"Run: quantbento serve {stored.tag}"
            )
    except StoreError as error:
        return _refusing(str(error))
    return _service(SERVICES[task])


def _service(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(sys.modules[module], name)


def _refusing(reason: str) -> Any:
    def refuse() -> NoReturn:
        raise CannotServe(reason)

    @bentoml.service(name="Default")
    class Default:
        bento_model = model_to_pack("", reason)
        preflight = bentoml.on_deployment(refuse)

    return Default
