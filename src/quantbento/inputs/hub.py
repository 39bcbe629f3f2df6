"""Models on the Hugging Face hub: the commit that a revision points to, and its files."""

from __future__ import annotations

import re
from pathlib import Path

from quantbento.core.errors import QuantbentoError, summary
from quantbento.recipe import ModelSpec


def commit_of(spec: ModelSpec) -> str:
    """The commit that a branch or tag points to now: on the hub, or without network in the local cache.

    Raises:
        QuantbentoError: there is no such model, or it can be neither reached nor found in the cache.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if spec.revision and re.fullmatch(r"[0-9a-f]{40}", spec.revision):
        return spec.revision
    try:
        return str(HfApi().model_info(str(spec.id), revision=spec.revision, timeout=10).sha)
    except HFValidationError as error:  # not a valid hub id
        raise _not_fetched(spec, error) from error
    except Exception as error:  # the hub's errors share no useful base; all mean: not available
        name = f"{spec.subfolder}/config.json" if spec.subfolder else "config.json"
        cached = try_to_load_from_cache(str(spec.id), name, revision=spec.revision or "main")
        if not isinstance(cached, str):
            raise _not_fetched(spec, error) from error
        return Path(cached.removesuffix(name)).name


def download(spec: ModelSpec, names: tuple[str, ...]) -> Path:
    """The folder of a hub model, downloaded into the hub's local cache.

    Args:
        spec: the model, with a commit as its revision.
        names: patterns of the files to download.
    """
    from huggingface_hub import snapshot_download

    patterns = [f"{spec.subfolder}/{p}" if spec.subfolder else p for p in (*names, "*/config.json")]
    try:
        folder = snapshot_download(str(spec.id), revision=spec.revision, allow_patterns=patterns)
    except Exception as error:  # see commit_of
        raise _not_fetched(spec, error) from error
    return Path(folder) / spec.subfolder


def _not_fetched(spec: ModelSpec, error: Exception) -> QuantbentoError:
    return QuantbentoError(
        f"the hub model {spec.id!r} (revision {spec.revision or 'main'}) could not be fetched: "
        f"{summary(error)}. Without network, use `path:` with a local folder"
    )
