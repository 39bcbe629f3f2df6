"""Models that were made and checked on one machine, to be judged on another. Until then nothing is known of the quality
of their answers, so nothing serves, chooses or packs them."""

from __future__ import annotations

from typing import Any, Protocol

from quantbento.core.errors import StoreError

LABEL = {"judged": "false"}  # of such a model; it has no label `passed`
TO_JUDGE = "to_judge"  # the manifest's key for what judging needs


class Stored(Protocol):
    """A model in the store; `manifest` raises `StoreError` where it is damaged."""

    @property
    def tag(self) -> str: ...

    @property
    def manifest(self) -> dict[str, Any]: ...


def is_unjudged(manifest: dict[str, Any]) -> bool:
    """Whether a manifest is of a model that was not judged; those of older versions do not say, and were."""
    return (manifest.get("variant") or {}).get("judged") is False


def how_to_judge(tag: str) -> str:
    """What is wrong with an unjudged model, and the next command."""
    return f"{tag} was not judged. Judge it where its runtime runs: quantbento judge {tag}"


def require_judged(model: Stored) -> None:
    """Raises `StoreError`, with the next command, where a model was not judged."""
    if is_unjudged(model.manifest):
        raise StoreError(how_to_judge(model.tag))
