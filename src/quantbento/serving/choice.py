"""Which stored model is served where nothing names one: the only one there is."""

from __future__ import annotations

import contextlib
import os

import bentoml

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.runtimes import artifact
from quantbento.serving.settings import PREFIX

MOST_LISTED = 20


def named() -> str | None:
    """What `--arg model=TAG` or `QUANTBENTO_MODEL` names, whatever the other settings are."""
    return vars(bentoml.use_arguments()).get("model") or os.environ.get(f"{PREFIX}MODEL") or None


def only_model(task: str | None = None, command: str = "quantbento serve {name}") -> str:
    """The name of the only stored model, of one task or of any. Its versions count as one model, the newest.

    Args:
        task: models for others do not count.
        command: what serves one of several, with `{name}`.

    Raises:
        StoreError: there is none, or there are several; with what to run.
    """
    found = {name: kind for name, kind in _stored().items() if task in (None, kind.partition(" on ")[0])}
    if len(found) == 1:
        return next(iter(found))
    what = f" for {task}" if task else ""
    if not found:
        raise StoreError(
            f"no model{what} is stored, and none is named. Save one with: python save_models.py configs/<recipe>.yaml"
        )
    width = max(map(len, found))
    lines = [f"  {command.format(name=f'{name:{width}}')}  # {kind}" for name, kind in found.items()]
    left_out = [f"  and {len(lines) - MOST_LISTED} more: quantbento models"] * (len(lines) > MOST_LISTED)
    raise StoreError("\n".join([f"{len(found)} models{what} are stored; say which:", *lines[:MOST_LISTED], *left_out]))


def task_of(stored: store.StoredModel) -> str:
    """What a stored model is for.

    Raises:
        StoreError: it was not saved by quantbento, or is damaged.
    """
    try:
        return artifact.describe(stored.path)["task"]
    except (OSError, ValueError, KeyError, TypeError):
        stored.verify()  # says so, in every case where the artifact was changed after it was saved
        raise StoreError(f"{stored.tag} does not say what it is for; make it again") from None


def _stored() -> dict[str, str]:
    """`task on runtime` of every model that can be served, by name. A BentoML store may hold others too."""
    found = {}
    for name in dict.fromkeys(model.tag.partition(":")[0] for model in store.models()):
        with contextlib.suppress(StoreError, OSError, ValueError, KeyError, TypeError):
            described = artifact.describe(store.find(name).path)
            found[name] = f"{described['task']} on {described['runtime']}"
    return found
