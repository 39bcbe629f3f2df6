"""The tables of `quantbento bench`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from quantbento.judging.figures import megabytes
from quantbento.judging.report.console import wide_console


def print_models(models: Sequence[dict[str, Any]], ratios: Sequence[dict[str, Any]]) -> None:
    """A row for each model and cell; then what loading takes, and the ratios with where a repeat would land."""
    if any(model["grid"] for model in models):
        _grid(models, ratios)
    if any(model.get("generation") for model in models):
        _generation(models, ratios)
    _alone(models)


def print_served(runs: Sequence[dict[str, Any]]) -> None:
    """A row for each load."""
    streamed = any("time_to_first_token_ms" in run for run in runs)
    more = ["first token p50", "between p50"] if streamed else []
    table = _table(["load", "throughput", "p50 ms", "p90 ms", "p99 ms", *more, "failed", "client CPU"])
    for run in runs:
        load = f"{run['clients']} clients" if run["mode"] == "closed" else f"{run['rate']:g} requests/s"
        texts = [_ms(run.get(n), "p50") for n in ("time_to_first_token_ms", "inter_token_ms")] if streamed else []
        failures = ", ".join(f"{count} x {status}" for status, count in run["failures"].items()) or "0"
        figures = [_ms(run["latency_ms"], p) for p in ("p50", "p90", "p99")]
        throughput = f"{run['throughput']:.1f} {run['unit']}"
        _add(table, [load, throughput, *figures, *texts, failures, f"{run['client_cpu']:.0%}"])
    wide_console().print(table)


def _grid(models: Sequence[dict[str, Any]], ratios: Sequence[dict[str, Any]]) -> None:
    table = _table(
        ["model", "runtime", "batch", "length", "p50 ms", "p90 ms", "p99 ms", "throughput", "times the first"]
    )
    for model in models:
        for cell in model["grid"]:
            length = "-" if cell["length"] is None else str(cell["length"])
            low, high = cell["interval"]
            throughput = f"{cell['throughput']:.1f} {cell['unit']} ({low:.1f} to {high:.1f})"
            figures = [_ms(cell["latency_ms"], p) for p in ("p50", "p90", "p99")]
            ratio = _ratio(ratios, model["tag"], cell["batch"], cell["length"])
            _add(table, [model["tag"], model["runtime"], str(cell["batch"]), length, *figures, throughput, ratio])
        table.add_section()
    wide_console().print(table)


def _generation(models: Sequence[dict[str, Any]], ratios: Sequence[dict[str, Any]]) -> None:
    names = ["model", "runtime", "requests at once", "first token ms", "between ms", "tokens/s", "times the first"]
    table = _table(names)
    for model in models:
        for at in model.get("generation", []):
            low, high = at["interval"]
            texts = [_ms(at[name], "p50") for name in ("time_to_first_token_ms", "inter_token_ms")]
            tokens = f"{at['tokens_per_s']:.1f} ({low:.1f} to {high:.1f})"
            ratio = _ratio(ratios, model["tag"], at["concurrency"], None)
            _add(table, [model["tag"], model["runtime"], str(at["concurrency"]), *texts, tokens, ratio])
        table.add_section()
    wide_console().print(table)


def _alone(models: Sequence[dict[str, Any]]) -> None:
    priced = any(model.get("cost_per_million") for model in models)
    table = _table(["model", "load", "peak memory", *(["cost per million"] if priced else [])])
    for model in models:
        seconds = model.get("load_seconds")
        cost = [f"{model['cost_per_million']:.4g}" if model.get("cost_per_million") else "-"] if priced else []
        load = "-" if seconds is None else f"{seconds:.2f} s"
        _add(table, [model["tag"], load, megabytes(model.get("peak_memory_bytes")), *cost])
    wide_console().print(table)


def _ratio(ratios: Sequence[dict[str, Any]], tag: str, batch: int, length: int | None) -> str:
    for ratio in ratios:
        if (ratio["of"], ratio["batch"], ratio["length"]) == (tag, batch, length):
            return f"{ratio['median']:.2f}x ({ratio['low']:.2f} to {ratio['high']:.2f})"
    return ""


def _ms(latency: dict[str, float] | None, percentile: str) -> str:
    return "-" if latency is None else f"{latency[percentile]:.2f}"


def _table(columns: Sequence[str]) -> Table:
    table = Table(pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _add(table: Table, cells: Sequence[str]) -> None:
    table.add_row(*map(Text, cells))
