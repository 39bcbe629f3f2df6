"""What of two reports has to be the same, where only what was measured differs."""

from __future__ import annotations

from typing import Any

# Measured, or a consequence: a stored version is a hash of its manifest, which holds timings.
TIMINGS = {
    "latency_ms",
    "throughput",
    "speedup",
    "speedup_same_runtime",
    "peak_memory_bytes",
    "load_seconds",
    "quantize_seconds",
    "created",
}


def without_timings(value: Any) -> Any:
    """A report without its timings, without the versions of tags, and without who was `reused`."""
    if isinstance(value, dict):
        kept = {k: without_timings(v) for k, v in value.items() if k not in TIMINGS | {"reused"}}
        return kept | ({"tag": kept["tag"].partition(":")[0]} if isinstance(kept.get("tag"), str) else {})
    return [without_timings(item) for item in value] if isinstance(value, list) else value
