"""The least that a recipe must say."""

from __future__ import annotations


def minimal(**changes) -> dict:
    return {
        "schema_version": 1,
        "name": "moons",
        "task": "tensor",
        "model": {"factory": "a.b:c"},
        "evaluation": {"factory": "a.b:d"},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    } | changes
