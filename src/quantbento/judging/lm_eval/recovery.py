"""A variant's lm-eval figures beside the baseline's, as Red Hat's model cards print them: recovery is quantized /
baseline for each task, and for the average of all (https://huggingface.co/RedHatAI)."""

from __future__ import annotations

from typing import Any

from quantbento.judging.evaluate import recovery

AVERAGE = "average"
PREFIX = "lm_eval."  # of the metrics that gates name

Figures = dict[str, dict[str, Any]]


def beside_baseline(variant: Figures, baseline: Figures) -> Figures:
    """`VariantRow.lm_eval`: by task, `metric`, `value`, `stderr`, `baseline`, `baseline_stderr`, `recovery` (a ratio;
    baseline / variant where smaller is better; None where the baseline has none), `better`, `num_fewshot`, `samples`.

    `average` is over the tasks of which larger is better, and is left out without any: the mean of perplexities and
    accuracies says nothing.

    Args:
        variant, baseline: of the same tasks, from `scores`.
    """
    rows = {}
    for task, own in variant.items():
        value, base, better = own["value"], baseline[task]["value"], own["better"]
        stderr = baseline[task]["stderr"]
        rows[task] = {**own, "baseline": base, "baseline_stderr": stderr, "recovery": _ratio(value, base, better)}
    averaged = [row for row in rows.values() if row["better"] > 0]
    if averaged:
        value, base = (sum(row[key] for row in averaged) / len(averaged) for key in ("value", "baseline"))
        rows[AVERAGE] = {"value": value, "baseline": base, "recovery": _ratio(value, base, 1), "tasks": len(averaged)}
    return rows


def gated(rows: Figures) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    """What gates may name, as `lm_eval.<task>`: the variant's metrics, the baseline's, and which direction is
    better."""
    named = {f"{PREFIX}{task}": row for task, row in rows.items()}
    metrics, baseline = ({name: row[key] for name, row in named.items()} for key in ("value", "baseline"))
    return metrics, baseline, {name: row.get("better", 1) for name, row in named.items()}


def _ratio(value: float, baseline: float, better: int) -> float | None:
    return recovery({"it": value}, {"it": baseline}, {"it": better}).get("it")
