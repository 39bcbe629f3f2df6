"""The model card of a stored variant, in the format of the Hugging Face hub: `README.md` with front matter (its
`model-index`), and `.eval_results/quantbento.yaml`. Every figure in it was measured; nothing else is claimed.

Formats: https://huggingface.co/docs/hub/model-cards and https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import missing_packages
from quantbento.judging.figures import megabytes, speed
from quantbento.judging.report.document import recovers
from quantbento.judging.report.table import words
from quantbento.judging.report.writing import replace_file
from quantbento.judging.rows import is_unjudged

CARD, RESULTS = "README.md", ".eval_results/quantbento.yaml"
LIBRARIES = {"torch": "pytorch", "vllm": "transformers"}  # the hub's names, where they are not the runtime's
NOT_A_PIPELINE = ("tensor",)
Row = dict[str, Any]


def write(folder: Path, name: str, content: Row, samples: Row) -> None:
    """Writes the card into an artifact's folder, in the place of one that came with the source model.

    Args:
        name: the model's name in the store.
        content: what the manifest will hold: `variant`, `baseline`, `environment`, `recipe`, `source`.
        samples: the identity of the evaluation samples.

    Raises:
        QuantbentoError: huggingface_hub is not installed.
    """
    import yaml

    if missing_packages(["huggingface_hub"]):
        raise QuantbentoError("the model card needs huggingface_hub: pip install 'quantbento[quantize]'")
    replace_file(folder / CARD, markdown(name, content, samples).encode())
    results = yaml.safe_dump(_entries(content, samples), sort_keys=False, allow_unicode=True)
    replace_file(folder / RESULTS, results.encode())


def markdown(name: str, content: Row, samples: Row) -> str:
    """The text of `README.md`."""
    row, recipe, source = content["variant"], content["recipe"], content["source"] or {}
    lines = [
        "---",
        _front_matter(name, content, samples),
        "---",
        f"# {name}",
        "",
        *([_plain(recipe["description"]), ""] if recipe.get("description") else []),
        f"A quantized variant ({_plain(row['scheme'])}) for the runtime {_plain(row['runtime'])}, made by quantbento "
        f"with the quantizer `{row['quantizer']}`. {_claim(row)}",
        "",
        *_figures(content),
        *(_unjudged(row) if is_unjudged(row) else _judged(content, samples)),
        "## Origin",
        "",
        f"- Task: {_plain(recipe['task'])}",
        *(
            f"- Source model, {words(key)}: `{value}`"
            for key, value in source.items()
            if isinstance(value, str) and value
        ),
        *(f"- Samples, {words(key)}: `{samples[key]}`" for key in ("sha256", "count") if samples.get(key)),
        f"- Measured on: {_plain(_machine(content.get('environment') or {}))}",
        "- `manifest.json` has every figure, the recipe, the versions of packages and the sha256 of each file.",
        "",
    ]
    return "\n".join(lines)


def _judged(content: Row, samples: Row) -> list[str]:
    return [
        "## Evaluation",
        "",
        f"Judged on {dataset_of(samples)[0]}{_placeholder(samples)}, against full precision "
        f"({_plain((content.get('baseline') or {}).get('name', 'the baseline'))}).",
        "",
        *_metrics(content),
        *_gates(content["variant"]),
    ]


def _unjudged(row: Row) -> list[str]:
    found = (row.get("checked") or {}).get("reconstruction")
    told = "No runtime loaded it where it was made."
    if found:
        told += f" Its weights have an SQNR of {found['sqnr_db']['min']:.1f} dB and more against the source's."
    return ["## Evaluation", "", told, "Judge it where its runtime runs: `quantbento judge TAG`.", ""]


def _claim(row: Row) -> str:
    if is_unjudged(row):
        return "It was not judged: nothing is known of the quality of its answers."
    return "All figures were measured on these files, in this runtime."


def dataset_of(samples: Row) -> tuple[str, str]:
    """What the evaluation samples are called, and the split or "local": a data set on the hub, or the name of a file
    or function. A local file's name is no data set's: the results then carry its sha256."""
    if samples.get("dataset"):
        return str(samples["dataset"]), str(samples.get("split") or "default")
    named = samples.get("file") or samples.get("factory")
    return str(named or "samples of its own"), "local"


def _front_matter(name: str, content: Row, samples: Row) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    row, task = content["variant"], content["recipe"]["task"]
    dataset, split = dataset_of(samples)
    results = [
        EvalResult(
            task_type=task,
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_config=samples.get("config"),
            dataset_split=split,
            metric_type=metric,
            metric_name=words(metric),
            metric_value=value,
        )
        for metric, value in row["metrics"].items()
    ]
    base = (content["source"] or {}).get("id")
    relation: dict[str, Any] = {"base_model_relation": "quantized"} if base else {}
    data = ModelCardData(
        model_name=name,
        base_model=base,
        library_name=LIBRARIES.get(row["runtime"], row["runtime"]),
        pipeline_tag=None if task in NOT_A_PIPELINE or ":" in task else task,
        tags=list(dict.fromkeys(["quantbento", "quantized", row["scheme"], row["runtime"], row["quantizer"]])),
        eval_results=results or None,
        **relation,
    )
    return data.to_yaml()


def _entries(content: Row, samples: Row) -> list[dict[str, Any]]:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    dataset, split = dataset_of(samples)
    local = f", sha256 {samples['sha256']}" if samples.get("sha256") else ""
    where = f"samples: {dataset}{local}" if split == "local" else f"split: {split}"
    row = content["variant"]
    made = f"{row['quantizer']} ({row['scheme']}) in {row['runtime']}; {where}"
    entries = [
        EvalResultEntry(dataset_id=dataset, task_id=metric, value=value, notes=made)
        for metric, value in row["metrics"].items()
    ]
    return eval_result_entries_to_yaml(entries)


def _figures(content: Row) -> list[str]:
    row, baseline = content["variant"], content.get("baseline") or {}
    latency = (row.get("latency_ms") or {}).get("p50")
    lines = {
        "size": f"{megabytes(row['size_bytes'])} ({row['size_ratio']:.0%} of full precision)"
        if row["size_ratio"]
        else None,
        "times as fast as full precision, median (p10-p90)": speed(row["speedup"]) if row["speedup"] else None,
        "latency of one input, p50": f"{latency:.2f} ms" if latency is not None else None,
        "peak memory": megabytes(row["peak_memory_bytes"]) if row["peak_memory_bytes"] else None,
        "full precision, peak memory": megabytes(baseline.get("peak_memory_bytes"))
        if baseline.get("peak_memory_bytes")
        else None,
    }
    shown = [f"| {name} | {value} |" for name, value in lines.items() if value]
    return ["| figure | value |", "|---|---|", *shown, ""] if shown else []


def _metrics(content: Row) -> list[str]:
    row, baseline = content["variant"], (content.get("baseline") or {}).get("metrics") or {}
    between = row.get("intervals") or {}
    lines = ["| metric | value | 95 % interval | full precision | recovery |", "|---|---|---|---|---|"]
    for name, value in row["metrics"].items():
        inside = (between.get(name) or {}).get("value")
        cells = [
            words(name),
            _number(value),
            f"{inside[0]:.5g} to {inside[1]:.5g}" if inside else "-",
            _number(baseline.get(name)),
            _kept(row, content["recipe"]["task"], name),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for task, found in (row.get("lm_eval") or {}).items():
        if isinstance(found, dict) and found.get("value") is not None:
            kept = f"{found['recovery']:.2%}" if found.get("recovery") is not None else "-"
            cells = [f"lm-eval {_plain(task)}: {found.get('metric') or 'mean'}", _number(found["value"]), "-"]
            lines.append(f"| {' | '.join([*cells, _number(found.get('baseline')), kept])} |")
    return [*lines, ""] if len(lines) > 2 else []


def _kept(row: Row, task: str, metric: str) -> str:
    return f"{row['recovery'][metric]:.2%}" if metric in row["recovery"] and recovers(task, metric) else "-"


def _gates(row: Row) -> list[str]:
    if not row["gates"]:
        return ["It has no gates: nothing was asked of it.", ""]
    lines = [
        f"| {gate['rule']} {words(gate['metric'])} | {gate['limit']:g} | {_number(gate['value'])} "
        f"| {'passed' if gate['passed'] else 'failed'} |"
        for gate in row["gates"]
    ]
    return ["| gate | limit | value | outcome |", "|---|---|---|---|", *lines, ""]


def _placeholder(samples: Row) -> str:
    return ", which only stand in for real ones: these figures prove nothing" if samples.get("placeholder") else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _machine(environment: Row) -> str:
    device = environment.get("gpu") or environment.get("cpu") or "an unknown machine"
    return f"{device}, {environment.get('threads', '?')} threads, Python {environment.get('python', '?')}"


def _plain(text: str) -> str:
    """A user's text as one line without Markdown or HTML of its own."""
    line = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in r"\`*_[]<>#|" else c for c in line)
