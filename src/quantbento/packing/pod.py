"""The pod of the templates, for kinds that Kustomize cannot patch: it knows how lists of Kubernetes' own kinds merge,
and replaces those of others as a whole."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from quantbento.core.errors import QuantbentoError, summary

# By what entries of a list are told apart, as Kubernetes' API declares it (`x-kubernetes-patch-merge-key`); entries of
# other lists of a pod that templates patch are replaced.
KEYS = {"containers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath", "ports": "containerPort"}


def pod_template(templates: Path, overlay: str, patch: dict[str, Any]) -> dict[str, Any]:
    """The pod template (`metadata`, `spec`) of the base's Deployment, with those of an overlay and of `patch` on top.

    Args:
        templates: the folder that has `base` and `overlays`.
        overlay: the name of one.
        patch: a Deployment, as far as it differs.

    Raises:
        QuantbentoError: a template cannot be read.
    """
    layers = [_read(templates / part / "deployment.yaml") for part in ("base", f"overlays/{overlay}")]
    found: dict[str, Any] = {}
    for layer in [*layers, patch]:
        found = merged(found, layer["spec"]["template"])
    return found


def merged(under: Any, over: Any, key: str | None = None) -> Any:
    """What `kubectl kustomize` makes of two parts of a pod, the second on top. `key` tells entries of lists apart."""
    if isinstance(under, dict) and isinstance(over, dict):
        both = {name: merged(under.get(name), value, KEYS.get(name)) for name, value in over.items()}
        return copy.deepcopy({name: value for name, value in {**under, **both}.items() if value is not None})
    if key and isinstance(under, list) and isinstance(over, list):
        places = {entry[key]: entry for entry in under}
        return list({**places, **{e[key]: merged(places.get(e[key]), e) for e in over}}.values())
    return copy.deepcopy(over)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert document["spec"]["template"]["spec"]["containers"]
    except (OSError, yaml.YAMLError, AssertionError, KeyError, TypeError) as error:
        raise QuantbentoError(f"the template {path} is no Deployment with a pod: {summary(error)}") from error
    return document
