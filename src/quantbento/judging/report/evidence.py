"""Tables of what a recipe may ask for beside metrics and speed, each only where it was measured."""

from __future__ import annotations

from quantbento.judging.report.document import Document, Row
from quantbento.judging.report.table import Cell, Table, fixed, number, percent, size, text, words, yes

WORST_LAYERS = 20  # shown of each variant


def divergence(document: Document) -> Table | None:
    """KL divergence of the tokens' distributions with its percentiles, and the share of equal most probable tokens, as
    llama.cpp prints them."""
    rows = []
    for variant in document.variants:
        if kl := variant.get("kl"):
            cells = [number(kl.get(name), 4) for name in ("median", "p90", "p95", "p99", "p99_9", "max")]
            mean, ratio = (_with_error(kl, name) for name in ("mean", "perplexity_ratio"))
            rows.append([text(variant["name"]), mean, *cells, percent(kl.get("same_top")), ratio])
    ends = ["90 %", "95 %", "99 %", "99.9 %"]
    columns = ["variant", "mean ± error", "median", *ends, "largest", "same top token", "perplexity ratio ± error"]
    note = "The Kullback-Leibler divergence, in nats per token, of the variant's next token from the baseline's."
    return Table("divergence", "Distance between the distributions of tokens", columns, rows, note) if rows else None


def lm_eval(document: Document) -> Table | None:
    """Scores of lm-eval's tasks with their standard error, and the share of the baseline's score."""
    rows = []
    for variant in document.variants:
        for task, found in (variant.get("lm_eval") or {}).items():
            scores = found if isinstance(found, dict) else {"recovery": found}
            value, baseline = _with_error(scores, "value", "stderr"), _with_error(scores, "baseline")
            kept = percent(scores.get("recovery"))
            rows.append([text(variant["name"]), text(task), text(scores.get("metric")), value, baseline, kept])
    columns = ["variant", "task", "metric", "score ± error", "baseline ± error", "recovery"]
    return Table("lm-eval", "Tasks of lm-eval", columns, rows) if rows else None


def robustness(document: Document) -> Table | None:
    """Difficult inputs: whether the shape is right, the numbers are finite and two answers are the same."""
    cases = [(v, case) for v in document.variants for case in v.get("robustness") or []]
    if not cases:
        return None
    distances = list(dict.fromkeys(name for _, case in cases for name in case.get("distance") or {}))
    columns = [
        "variant",
        "inputs",
        "samples",
        "right shape",
        "finite",
        "deterministic",
        "note",
        *map(words, distances),
    ]
    rows = [
        [
            text(variant["name"]),
            text(words(case.get("case", ""))),
            number(case.get("samples"), 6),
            *(yes(case.get(check)) for check in ("shape", "finite", "deterministic")),
            _note(case),
            *(number((case.get("distance") or {}).get(name), 5) for name in distances),
        ]
        for variant, case in cases
    ]
    return Table("robustness", "Answers to difficult inputs", columns, rows, "Distances are those to the baseline.")


def _note(case: Row) -> Cell:
    if case.get("refused"):
        return text("services refuse it")
    return text(case.get("error"), "bad" if case.get("error") else "plain")


def groups(document: Document) -> Table | None:
    """Metrics of groups of samples, with the baseline's."""
    found = [(v, name, group) for v in document.variants for name, group in (v.get("groups") or {}).items()]
    if not found:
        return None
    names = list(dict.fromkeys(metric for _, _, group in found for metric in group.get("metrics") or {}))
    columns = ["variant", "group", "samples", *(f"{words(n)} {of}" for n in names for of in ("", "(baseline)"))]
    rows = [
        [
            text(variant["name"]),
            text(name),
            number(group.get("samples"), 6),
            *(number((group.get(of) or {}).get(n), 5) for n in names for of in ("metrics", "baseline")),
        ]
        for variant, name, group in found
    ]
    return Table("groups", "Groups of samples", [c.strip() for c in columns], rows)


def worst(document: Document) -> Table | None:
    """The samples that differ most from the baseline; with inputs and answers only where the recipe opted in."""
    found = [(v, sample) for v in document.variants for sample in v.get("worst") or []]
    if not found:
        return None
    extra = [name for name in ("input", "baseline", "variant") if any(name in sample for _, sample in found)]
    rows = [
        [
            text(variant["name"]),
            number(sample.get("index"), 9),
            number(sample.get("distance"), 4),
            *(text(sample.get(name)) for name in extra),
        ]
        for variant, sample in found
    ]
    headings = {"input": "input", "baseline": "the baseline's answer", "variant": "the variant's answer"}
    columns = ["variant", "sample", "distance", *(headings[name] for name in extra)]
    return Table("worst", "Samples with the largest distance from the baseline", columns, rows)


def mixed(document: Document) -> Table | None:
    """How layers fell back to more bits, step by step."""
    steps = [(v, i, s) for v in document.variants for i, s in enumerate((v.get("mixed") or {}).get("steps") or [], 1)]
    if not steps:
        return None
    names = list(dict.fromkeys(name for _, _, step in steps for name in step.get("metrics") or {}))
    rows = [
        [
            text(variant["name"]),
            number(i, 6),
            number(len(step.get("kept") or []), 6),
            number(len(step.get("eight_bit") or []), 6),
            fixed(step.get("avg_bits"), 2),
            *(number((step.get("metrics") or {}).get(name), 5) for name in names),
            yes(step.get("holds"), "holds", "does not hold"),
            text(", ".join(map(str, step.get("kept") or []))),
        ]
        for variant, i, step in steps
    ]
    goals = (f"{v['name']}: {_goal(v['mixed'])}" for v in document.variants if v.get("mixed"))
    columns = ["variant", "step", "layers kept", "in 8 bit", "bits on average", *map(words, names), "goal", "kept"]
    return Table("mixed", "Mixed precision, step by step", columns, rows, f"Goals: {'; '.join(goals)}.")


def ablation(document: Document) -> Table | None:
    """What each option is worth: the same variant with the option turned off."""
    rows = (document.ablation or {}).get("rows") or []
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row.get("metrics") or {}))
    table = Table(
        "ablation",
        f"The variant {(document.ablation or {}).get('variant', '')} with one option off at a time",
        ["off", *map(words, names), "size", "speedup", "seconds to quantize", "error"],
    )
    for row in rows:
        speedup = row.get("speedup")
        median = speedup.get("median") if isinstance(speedup, dict) else speedup
        table.rows.append(
            [
                text(row.get("off") or "nothing"),
                *(number((row.get("metrics") or {}).get(name), 5) for name in names),
                size(row.get("size_bytes")),
                fixed(median, 2, "x"),
                fixed(row.get("quantize_seconds"), 1),
                text(row.get("error"), "bad" if row.get("error") else "plain"),
            ]
        )
    return table


def layers(sensitivity: Row) -> Table | None:
    """The layers that cost most, by name."""
    found = sorted(sensitivity.get("layers") or [], key=lambda layer: -(layer.get("drop") or 0))
    if not found:
        return None
    metric = words(sensitivity.get("metric") or "metric")
    rows = [
        [
            text(layer.get("module") or layer.get("name"), "code"),
            number(layer.get("parameters"), 9),
            number(layer.get("drop"), 3),
            fixed(layer.get("sqnr_db"), 1),
            number((layer.get("activation") or {}).get("max_abs"), 4),
            number((layer.get("activation") or {}).get("outlier_ratio"), 3),
        ]
        for layer in found[:WORST_LAYERS]
    ]
    name = sensitivity.get("variant") or "variant"
    left = f" {len(found) - WORST_LAYERS} more cost less." if len(found) > WORST_LAYERS else ""
    note = f"Each layer is quantized alone, and the others stay in full precision.{left}"
    columns = ["layer", "parameters", f"loss of {metric}", "SQNR dB", "largest activation", "outlier ratio"]
    return Table(f"layers-{name}", f"{name}: the layers that cost most", columns, rows, note)


def attention(sensitivity: Row) -> Table | None:
    """How alike the attention maps of the variant and the baseline are."""
    found = sensitivity.get("attention") or []
    rows = [[text(row.get("layer"), "code"), number(row.get("similarity"), 5)] for row in found]
    name = sensitivity.get("variant") or "variant"
    columns = ["layer", "similarity"]
    return Table(f"attention-{name}", f"{name}: similarity of attention maps", columns, rows) if rows else None


def _goal(mixed: Row) -> str:
    goal = mixed.get("goal")
    if not isinstance(goal, dict):
        return str(goal)
    limits = {rule: limit if isinstance(limit, dict) else {"": limit} for rule, limit in goal.items()}
    return ", ".join(" ".join(f"{r} {words(m)} {v}".split()) for r, found in limits.items() for m, v in found.items())


def _with_error(found: Row, name: str, error: str = "") -> Cell:
    """A figure with its standard error, where there is one."""
    value, off = number(found.get(name), 4), found.get(error or f"{name}_stderr")
    return value if off is None or value.order is None else Cell(f"{value.text} ± {off:.2g}", value.order)
