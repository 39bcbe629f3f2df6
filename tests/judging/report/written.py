"""Reports on disk, for the tests of what people see of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOSTILE = '<script>alert("x")</script>&\''


def full_precision(name: str = "torch-fp32", speed: float = 1.0) -> dict[str, Any]:
    return {
        "name": name,
        "runtime": "torch",
        "size_bytes": 90_000_000,
        "size_ratio": 1.0,
        "metrics": {"mean_cosine": 1.0},
        "latency_ms": {"p50": 9.0},
        "throughput": 300.0,
        "speedup": {"median": speed, "p10": speed, "p90": speed},
        "peak_memory_bytes": 800_000_000,
    }


def variant(name: str = "int8", speed: float = 3.0, cosine: float = 0.99, **more: Any) -> dict[str, Any]:
    gate = {"metric": "mean_cosine", "rule": "min", "limit": 0.98, "value": cosine, "passed": cosine >= 0.98}
    return {
        "name": name,
        "quantizer": "onnx-dynamic",
        "scheme": "int8-dynamic",
        "options": {"per_channel": True},
        "runtime": "onnx",
        "tag": f"demo-{name}:0123456789abcdef",
        "size_bytes": 24_000_000,
        "size_ratio": 0.25,
        "metrics": {"mean_cosine": cosine},
        "recovery": {"mean_cosine": cosine},
        "latency_ms": {"p50": 3.0},
        "throughput": 900.0,
        "speedup": {"median": speed, "p10": speed - 0.2, "p90": speed + 0.2},
        "speedup_same_runtime": None,
        "peak_memory_bytes": 200_000_000,
        "quantize_seconds": 2.0,
        "quantized": {"counts": {"MatMul": 36}, "parameters": 9, "of_parameters": 10, "left_out": [], "notes": []},
        "gates": [gate],
        "passed": gate["passed"],
        "reused": False,
        "error": None,
        **more,
    }


def old_report(*variants: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What quantbento 0.2 wrote: no intervals, no provenance, no names of metrics."""
    return {
        "schema_version": 1,
        "recipe": "demo",
        "task": "feature-extraction",
        "throughput_unit": "inputs/s",
        "baseline": full_precision(),
        "references": [full_precision("torch-bf16", 1.7)],
        "variants": list(variants) or [variant()],
        "environment": {"python": "3.11", "cpu": "a CPU", "threads": 2, "packages": {"torch": "2.13"}},
        **more,
    }


def full_report() -> dict[str, Any]:
    """One with all that a run can measure, a refused variant, one without gates, and one that could not be made."""
    intervals = {"mean_cosine": {"value": [0.985, 0.995], "drop": [-0.001, 0.015], "recovery": [0.985, 0.995]}}
    case = {"samples": 4, "shape": True, "finite": False, "deterministic": True, "distance": {"mean_cosine": 0.9}}
    many = variant(
        "int8",
        intervals=intervals,
        robustness=[{"case": "very_long", "error": None, **case}],
        groups={"german": {"samples": 5, "metrics": {"mean_cosine": 0.97}, "baseline": {"mean_cosine": 1.0}}},
        worst=[{"index": 7, "distance": 0.5}],
        lm_eval={
            "arc": {"metric": "acc", "value": 0.5, "stderr": 0.01, "baseline": 0.6, "recovery": 0.833},
            "average": {"value": 0.5, "baseline": 0.6, "recovery": 0.833},
        },
        kl={"mean": 0.01, "mean_stderr": 0.001, "median": 0.002, "p99": 0.3, "max": 2.0, "same_top": 0.95},
        mixed={
            "goal": {"min_recovery": {"mean_cosine": 0.99}},
            "steps": [{"kept": ["layer.0"], "metrics": {"mean_cosine": 0.99}, "avg_bits": 9.5, "holds": True}],
            "holds": True,
        },
    )
    refused = variant("refused", 4.0, 0.9, tag=None)
    ungated = variant(HOSTILE, 2.0, 0.97, gates=[], passed=True)
    failed = {**variant("failed"), "error": f"did not load: {HOSTILE}", "passed": False, "metrics": {}, "recovery": {}}
    failed |= {"speedup": None, "size_bytes": None, "gates": [], "latency_ms": {}, "peak_memory_bytes": None}
    provenance = {
        "created": "2026-01-01T00:00:00+00:00",
        "quantbento": "0.2.0",
        "recipe": {"file": "demo.yaml", "sha256": "a" * 64, "content": {"name": "demo"}},
        "source": {"path": "model", "sha256": "b" * 64},
        "samples": {"evaluation": {"file": "sentences.txt", "sha256": "c" * 64}},
        "commands": ["quantbento save demo.yaml --force"],
    }
    more = {"primary": ["mean_cosine"], "better": {"mean_cosine": 1}, "provenance": provenance}
    return old_report(many, refused, ungated, failed, **more)


def sensitivity() -> dict[str, Any]:
    layers = [
        {"name": f"node_{block}_{role}", "module": f"encoder.layer.{block}.{role}", "block": f"encoder.layer.{block}"}
        | {"kind": role, "order": block, "parameters": 100, "sqnr_db": 30.0, "drop": drop}
        for block in range(3)
        for role, drop in (("query", 0.001 * block), ("output", 0.01))
    ]
    return {
        "schema_version": 1,
        "recipe": "demo",
        "variant": "int8",
        "metric": "mean_cosine",
        "layers": layers,
        "attention": [{"layer": "encoder.layer.0", "similarity": 0.98}],
    }


def bench() -> dict[str, Any]:
    def cell(batch: int, length: int) -> dict[str, Any]:
        latency = {"p50": batch * length / 50, "p90": batch * length / 40, "p99": batch * length / 30}
        speed = {"throughput": 900.0 / length, "unit": "inputs/s", "interval": [850.0 / length, 950.0 / length]}
        return {"batch": batch, "length": length, "latency_ms": latency, **speed}

    percentiles = {"p50": 1.0, "p90": 2.0, "p99": 3.0}
    model = {
        "tag": "demo-int8:0123456789abcdef",
        "runtime": "onnx",
        "grid": [cell(batch, length) for batch in (1, 8) for length in (16, 64)],
        "load_seconds": 0.2,
        "peak_memory_bytes": 200_000_000,
        "generation": [
            {
                "concurrency": 4,
                "time_to_first_token_ms": percentiles,
                "inter_token_ms": percentiles,
                "tokens_per_s": 90.0,
            }
        ],
        "cost_per_million": 0.12,
    }
    served = [
        {
            "url": "http://x",
            "mode": "closed",
            "clients": c,
            "throughput": 9.0 * c,
            "latency_ms": percentiles,
            "failed": 0,
        }
        for c in (1, 4)
    ]
    ratio = {"of": "int8", "to": "fp32", "batch": 1, "length": 16, "median": 3.0, "low": 2.8, "high": 3.2}
    return {"schema_version": 1, "models": [model], "ratios": [ratio], "served": served, "environment": {}}


def ablation() -> dict[str, Any]:
    rows = [
        {"off": None, "metrics": {"mean_cosine": 0.99}, "size_bytes": 24_000_000, "speedup": 3.0, "error": None},
        {"off": "per_channel", "metrics": {}, "size_bytes": None, "speedup": None, "error": "no such graph"},
    ]
    return {"schema_version": 1, "recipe": "demo", "variant": "int8", "rows": rows}


def write(folder: Path, report: dict[str, Any], **beside: dict[str, Any]) -> Path:
    """`report.json` and the files beside it; an underscore in a name stands for a hyphen."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"report": report, **beside}.items():
        (folder / f"{name.replace('_', '-')}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "report.json"


def write_full(folder: Path) -> Path:
    more = {"bench": bench(), "ablation": ablation(), "sensitivity_int8": sensitivity()}
    return write(folder, full_report(), **more)
