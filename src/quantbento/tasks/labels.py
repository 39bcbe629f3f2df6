"""The names of a classifier's outputs."""

from __future__ import annotations

from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.source import SourceModel


def model_labels(source: SourceModel, given: list[str] | None) -> list[str]:
    """The names that a recipe gives, else those of the model's configuration.

    Raises:
        QuantbentoError: the recipe gives more or fewer than the model has.
    """
    assert source.module is not None
    config: Any = source.module.config
    labels = [str(config.id2label[i]) for i in range(config.num_labels)]
    if given is None:
        return labels
    if len(given) != len(labels):
        raise QuantbentoError(f"task_options.labels has {len(given)} names; the model has {len(labels)}")
    return given


def config_labels(config: dict[str, Any]) -> int:
    """How many outputs a model has by its `config.json`; Transformers writes no names where there are two."""
    return len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels") or 2)
