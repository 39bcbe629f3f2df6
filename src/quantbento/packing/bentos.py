"""Bentos in BentoML's store."""

from __future__ import annotations

import contextlib

import bentoml
from bentoml.exceptions import BentoMLException, NotFound

from quantbento import store
from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, did_you_mean
from quantbento.runtimes import artifact
from quantbento.runtimes.base import Runtime
from quantbento.store.bento_description import BentoDescription


def find(tag: str) -> bentoml.Bento:
    """The Bento that `name`, for the latest, or `name:version` stands for.

    Raises:
        QuantbentoError: there is none, with the nearest names, or it cannot be read.
    """
    try:
        return bentoml.bentos.get(tag)
    except (NotFound, ValueError):  # a ValueError is a name that no Bento can have
        known = _known()
    except BentoMLException as error:
        raise QuantbentoError(f"Bento {tag!r} cannot be read: {error}. See what is stored: bentoml list") from None
    names = sorted({stored.partition(":")[0] for stored in known})
    near = did_you_mean(tag, [*names, *known] if ":" in tag else names)
    stored = f" (stored: {', '.join(names[:8])}{' ...' * (len(names) > 8)})" if names else " (the store has no Bento)"
    raise QuantbentoError(f"no Bento {tag!r} in the store{near}{stored}. Build one with: quantbento build")


def runtime_of(bento: BentoDescription) -> type[Runtime] | None:
    """The runtime of a Bento's model: by its label, else by the model itself. None where neither tells: the label is
    missing or names no runtime, and the model is not in this store."""
    if label := bento.labels.get("runtime"):
        with contextlib.suppress(QuantbentoError):
            return registry.runtime(label)
    with contextlib.suppress(QuantbentoError, OSError, ValueError, KeyError):
        described = [artifact.describe(store.find(tag).path) for tag in bento.models[:1]]
        return next((registry.runtime(model["runtime"]) for model in described), None)
    return None


def _known() -> list[str]:
    try:
        return [str(bento.tag) for bento in bentoml.bentos.list()]
    except (BentoMLException, OSError):  # a damaged one among them
        return []
