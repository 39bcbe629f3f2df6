"""The labels of a stored model. They are kept in BentoML's own file, which the manifest does not hash: labels may
change after a save, the model does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantbento import store
from quantbento.core.errors import QuantbentoError, StoreError, did_you_mean
from quantbento.store import manifest
from quantbento.store.atomic import changing, write

OWN = (
    "recipe",
    "task",
    "quantizer",
    "scheme",
    "runtime",
    "passed",
    "judged",
)  # written by a save; they say what the model is


def read(model: store.StoredModel) -> dict[str, str]:
    """All labels, including those that the save wrote.

    Raises:
        StoreError: BentoML's file is damaged or gone.
    """
    return {str(key): str(value) for key, value in (_document(model).get("labels") or {}).items()}


def users(labels: dict[str, str]) -> dict[str, str]:
    """The user's labels: all but those that the save wrote."""
    return {key: value for key, value in labels.items() if key not in OWN}


def change(tag: str, changes: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Sets and removes labels of a stored model. Returns its full tag and the user's labels it has now.

    Args:
        tag: as for `store.find`.
        changes: `key=value` sets one, `key=` removes it.

    Raises:
        QuantbentoError: lists every change that cannot be made; nothing is changed then.
    """
    import yaml

    model = store.find(tag)
    with changing(f"the labels of {model.tag} could not be changed") as staged:
        document = _document(model)
        labels = read(model)
        if problems := _apply(labels, changes):
            raise QuantbentoError("\n".join([f"no label of {model.tag} was changed:", *(f"  - {p}" for p in problems)]))
        document["labels"] = labels
        write(model.path / manifest.BENTOML_FILE, yaml.safe_dump(document, sort_keys=False).encode(), staged)
    return model.tag, users(labels)


def _apply(labels: dict[str, str], changes: Sequence[str]) -> list[str]:
    """Makes the changes in place, and returns what is wrong with them."""
    problems: list[str] = []
    seen: set[str] = set()
    for change in changes:
        key, equals, value = change.partition("=")
        key = key.strip()
        if not key or not equals:
            problems.append(f"{change!r}: write key=value to set a label, key= to remove it")
        elif key in OWN:
            problems.append(f"{key!r} was written by the save and stays, as all of {', '.join(OWN)}")
        elif key in seen:
            problems.append(f"{key!r} is given twice")
        elif not value and key not in labels:
            problems.append(f"no label {key!r} to remove{did_you_mean(key, users(labels))}")
        elif value:
            labels[key] = value
        else:
            del labels[key]
        seen.add(key)
    return problems


def _document(model: store.StoredModel) -> dict[str, Any]:
    import yaml

    damaged = f"{model.tag}: {manifest.BENTOML_FILE} is damaged. Remove the model with: quantbento delete {model.tag}"
    try:
        document = yaml.safe_load((model.path / manifest.BENTOML_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        raise StoreError(damaged) from None
    if not isinstance(document, dict) or not isinstance(document.get("labels") or {}, dict):
        raise StoreError(damaged)
    return document
