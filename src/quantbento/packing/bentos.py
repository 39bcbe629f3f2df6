"""Bentos in BentoML's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml
import yaml
from bentoml.exceptions import BentoMLException, NotFound

from quantbento.core.errors import QuantbentoError, did_you_mean


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


def describe(bento: bentoml.Bento) -> dict[str, Any]:
    """`bento.yaml`."""
    return yaml.safe_load(Path(bento.path_of("bento.yaml")).read_text(encoding="utf-8"))


def entry_service(description: dict[str, Any]) -> dict[str, Any]:
    """The service of a Bento that requests reach."""
    services = description.get("services") or [{}]
    return next((s for s in services if s.get("name") == description.get("entry_service")), services[0])


def _known() -> list[str]:
    try:
        return [str(bento.tag) for bento in bentoml.bentos.list()]
    except (BentoMLException, OSError):  # a damaged one among them
        return []
