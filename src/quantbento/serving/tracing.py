"""OpenTelemetry: exported by OTLP where its own variables say where to, with the batch and the wait of each request.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`) is enough; the exporter reads headers, certificates, timeout
and compression from the standard variables too:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache
from typing import Any

from quantbento.serving.batching.queue import Ran

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# BentoML's `excluded_urls` are searched for in the whole address.
UNTRACED = ["/livez$", "/readyz$", "/healthz$", "/metrics$"]
BATCH_SIZE, QUEUE_WAIT = "quantbento.batch_size", "quantbento.queue_wait_seconds"
logger = logging.getLogger("bentoml.serve")


def exports() -> bool:
    """Whether the environment says where spans go, and what sends them is installed."""
    endpoint = _first(ENDPOINTS)
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return bool(endpoint) and not off and _installed(_protocol(), endpoint)


def exporting() -> dict[str, Any]:
    """BentoML's setting `tracing` of a service whose spans are exported."""
    return {
        "exporter_type": "otlp",
        "otlp": {"protocol": _protocol()},
        "sample_rate": _sampled(),
        "excluded_urls": UNTRACED,
    }


def tell(ran: Ran) -> None:
    """The span of the request that this code answers gets the size of its largest batch, in items of all its requests,
    and the seconds until the last of its items began to be computed."""
    from opentelemetry import trace

    span = trace.get_current_span()
    if ran.batch_items and span.is_recording():
        span.set_attributes({BATCH_SIZE: ran.batch_items, QUEUE_WAIT: ran.waited})


def _first(names: tuple[str, ...]) -> str:
    return next(filter(None, map(os.environ.get, names)), "")


def _protocol() -> str:
    """OpenTelemetry's default is `http/protobuf`."""
    return "grpc" if _first(PROTOCOLS) == "grpc" else "http"


def _sampled() -> float:
    """The part of the requests whose spans are exported, where their client does not say; all by default."""
    sampler, given = os.environ.get("OTEL_TRACES_SAMPLER", ""), os.environ.get("OTEL_TRACES_SAMPLER_ARG", "")
    if sampler.endswith("always_off"):
        return 0.0
    if not sampler.endswith("traceidratio"):
        return 1.0
    try:
        return min(1.0, max(0.0, float(given)))
    except ValueError:
        return 1.0


@cache
def _installed(protocol: str, endpoint: str) -> bool:
    try:
        found = importlib.util.find_spec(f"opentelemetry.exporter.otlp.proto.{protocol}")
    except ModuleNotFoundError:
        found = None
    if found is None:
        logger.warning(
            "No spans go to %s: the exporter for %s is not installed; run: pip install "
            "opentelemetry-exporter-otlp-proto-%s, or leave the variable out",
            endpoint,
            protocol,
            protocol,
        )
    return found is not None
