"""What the console shows of language models below the summary: tasks of lm-eval, and divergence from the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from quantbento.judging.lm_eval.recovery import AVERAGE
from quantbento.judging.rows import Report, VariantRow

DIVERGENCES = {"mean": "mean", "median": "median", "p90": "90 %", "p95": "95 %", "p99": "99 %", "p99_9": "99.9 %"}


def language_tables(report: Report) -> Iterator[Table]:
    """A table for each kind of figures that a variant has."""
    if answered := [v for v in report.variants if v.lm_eval]:
        yield _lm_eval(answered)
    if apart := [v for v in report.variants if v.kl]:
        yield _divergence(apart)
    if adapted := [v for v in report.variants if v.adapters]:
        yield _adapters(adapted)
    if decoded := [v for v in report.variants if v.decoding]:
        yield _decoding(decoded)


def _lm_eval(variants: list[VariantRow]) -> Table:
    """One row per task, and one for the average, as Red Hat's model cards have it: recovery is 100 x quantized /
    baseline."""
    table = Table(title="lm-eval", title_justify="left", pad_edge=False)
    table.add_column("task")
    table.add_column("metric")
    for name in ("baseline", *(part for v in variants for part in (v.name, "recovery"))):
        table.add_column(name, justify="right", overflow="fold")
    tasks = dict.fromkeys(task for v in variants for task in v.lm_eval)
    for task in sorted(tasks, key=lambda task: task == AVERAGE):  # the average is last
        rows = [v.lm_eval.get(task) for v in variants]
        [first, *_] = [row for row in rows if row]
        cells = [cell for row in rows for cell in (_value(row), _recovery(row))]
        if task == AVERAGE:
            table.add_section()
        base = _with_error(first["baseline"], first.get("baseline_stderr"))
        table.add_row(task, _metric(first), base, *cells)
    return table


def _divergence(variants: list[VariantRow]) -> Table:
    """The figures that llama.cpp prints."""
    table = Table(title="divergence from the baseline (nats per token)", title_justify="left", pad_edge=False)
    table.add_column("variant")
    for heading in (*DIVERGENCES.values(), "max", "same top token", "perplexity ratio"):
        table.add_column(heading, justify="right", overflow="fold")
    for v in variants:
        kl = v.kl
        table.add_row(
            v.name,
            _with_error(kl["mean"], kl["mean_stderr"]),
            *(f"{kl[name]:.4f}" for name in (*list(DIVERGENCES)[1:], "max")),
            f"{_with_error(100 * kl['same_top'], 100 * kl['same_top_stderr'], 2)} %",
            _with_error(kl["perplexity_ratio"], kl["perplexity_ratio_stderr"]),
        )
    return table


def _adapters(variants: list[VariantRow]) -> Table:
    """Each variant with each adapter, against full precision with the same one."""
    table = Table(title="with each adapter", title_justify="left", pad_edge=False)
    for heading in ("variant", "adapter"):
        table.add_column(heading)
    for heading in ("full precision", "perplexity", "recovery", "KL divergence", "same top token"):
        table.add_column(heading, justify="right", overflow="fold")
    for v in variants:
        for name, found in v.adapters.items():
            own, base, kl = found["metrics"]["perplexity"], found["baseline"]["perplexity"], found["kl"]
            kept, same = found["recovery"].get("perplexity"), 100 * kl["same_top"]
            shown = "-" if kept is None else f"{100 * kept:.2f} %"
            table.add_row(v.name, name, f"{base:.4f}", f"{own:.4f}", shown, f"{kl['mean']:.4f}", f"{same:.2f} %")
    return table


def _decoding(variants: list[VariantRow]) -> Table:
    """Each engine with speculative decoding or prefix caching, beside a plain one; the plain one's after the slash."""
    table = Table(title="beside the plain engine", title_justify="left", pad_edge=False)
    table.add_column("variant")
    for heading in ("same greedy texts", "tokens/s", "speedup", "first token ms", "guesses accepted", "prefix hits"):
        table.add_column(heading, justify="right", overflow="fold")
    for v in variants:
        found, plain = v.decoding, v.decoding["plain"]
        pairs = [f"{found[n]:.4g} / {plain[n]:.4g}" for n in ("tokens_per_s", "first_token_ms")]
        accepted, hits = (_share(found[name]) for name in ("acceptance_rate", "prefix_hit_rate"))
        speedup = f"{found['speedup']['median']:.2f}x"
        table.add_row(v.name, _share(found["same_texts"]), pairs[0], speedup, pairs[1], accepted, hits)
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _metric(row: dict[str, Any]) -> str:
    """The metric, and whether smaller is better; for the average, how many tasks are in it."""
    if "metric" not in row:
        return f"of {row['tasks']}"
    return row["metric"] if row["better"] > 0 else f"{row['metric']} (smaller is better)"


def _value(row: dict[str, Any] | None) -> str:
    return "-" if row is None else _with_error(row["value"], row.get("stderr"))


def _recovery(row: dict[str, Any] | None) -> str:
    recovered = None if row is None else row["recovery"]
    return "-" if recovered is None else f"{100 * recovered:.2f} %"


def _with_error(value: float, stderr: float | None, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if stderr is None else f"{value:.{digits}f} ± {stderr:.{digits}f}"
