"""Prometheus metrics of this project, each made once per process.

`prometheus_client` is imported on first use: BentoML says where several processes' metrics are kept only after a
service was imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

NAMESPACE = "quantbento"


def counter(name: str, told: str, labels: Mapping[str, str]) -> Any:
    """The counter `quantbento_<name>_total` with these labels."""
    return _metric("Counter", name, told, tuple(labels)).labels(**labels)


def gauge(name: str, told: str, labels: Mapping[str, str], of_several: str = "livesum") -> Any:
    """The gauge `quantbento_<name>` with these labels; of several processes, by default the sum of those that live."""
    return _metric("Gauge", name, told, tuple(labels), multiprocess_mode=of_several).labels(**labels)


def histogram(name: str, told: str, labels: Mapping[str, str], buckets: Sequence[float]) -> Any:
    """The histogram `quantbento_<name>` with these labels."""
    return _metric("Histogram", name, told, tuple(labels), buckets=tuple(buckets)).labels(**labels)


@cache
def _metric(kind: str, name: str, told: str, labels: tuple[str, ...], **more: Any) -> Any:
    import prometheus_client

    return getattr(prometheus_client, kind)(name, told, labels, namespace=NAMESPACE, **more)
