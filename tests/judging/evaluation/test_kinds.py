"""Kinds of evaluation on the whole road: from a recipe to a report with intervals, groups and the worst samples."""

from __future__ import annotations

import csv
import itertools
import json

import pytest

import quantbento
from quantbento.judging.report.console import print_report
from tests.conftest import labelled_texts

pytestmark = pytest.mark.slow
QUICK = {"items": 4, "rounds": 6, "latency_calls": 10, "memory": False, "threads": 1}


def save(tmp_path, task, model, evaluation, **more):
    recipe = {
        "schema_version": 1,
        "name": "judged",
        "task": task,
        "model": {"path": str(model)},
        "evaluation": {"robustness": False, **evaluation},
        "benchmark": QUICK,
        "variants": [{"name": "int8", "quantizer": "onnx-dynamic"}],
        **more,
    }
    return quantbento.save(recipe, output=tmp_path / "reports")


def sure(answers, labels):
    return sum(a["label"] == b and a["score"] > 0.9 for a, b in zip(answers, labels, strict=True)) / len(labels)


def test_a_classifier_with_a_metric_groups_and_worst_samples(tmp_path, bento_home, tiny_classifier, capsys):
    texts, labels = labelled_texts(40, seed=5)
    rows = [
        {"text": text, "label": "positive" if label else "negative", "source": "short" if len(text) < 40 else "long"}
        for text, label in zip(texts, labels, strict=True)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluation = {"path": str(path), "group": "source", "worst": 2, "metrics": {"sure": f"{__name__}:sure"}}
    gates = {"confident": True, "max_drop": {"sure": 0.5}, "level": "mlperf-99"}
    report = save(tmp_path, "text-classification", tiny_classifier, evaluation, gates=gates)
    (row,) = report.variants
    assert row.error is None
    assert {"accuracy", "f1", "f1_macro", "mcc", "sure"} <= row.metrics.keys() & report.baseline.metrics.keys()
    assert {"value", "drop"} <= row.intervals["sure"].keys()
    assert row.intervals["speedup"]["value"][0] <= row.speedup["median"] <= row.intervals["speedup"]["value"][1]
    assert set(row.groups) == {"short", "long"}
    assert sum(group["samples"] for group in row.groups.values()) == 40
    assert [entry["input"] in texts for entry in row.worst] == [True, True]
    assert row.worst[0]["variant"].keys() == {"label", "score"}
    assert [(gate["metric"], gate["rule"]) for gate in row.gates] == [("sure", "max_drop"), ("accuracy", "mlperf-99")]
    print_report(report)
    assert "accuracy" in capsys.readouterr().out


def test_without_being_asked_a_report_holds_no_samples(tmp_path, bento_home, tiny_classifier):
    texts, _ = labelled_texts(12, seed=6)
    path = tmp_path / "samples.txt"
    path.write_text("\n".join(texts))
    report = save(tmp_path, "text-classification", tiny_classifier, {"path": str(path)})
    assert all(entry.keys() == {"index", "distance"} for entry in report.variants[0].worst)
    written = report.path.read_text()
    assert not any(text in written for text in texts)


def test_pairs_of_texts(tmp_path, bento_home, tiny_encoder):
    texts, _ = labelled_texts(20, seed=7)
    path = tmp_path / "sts.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["sentence1", "sentence2", "score"])
        table.writerows([a, b, len(set(a.split()) & set(b.split()))] for a, b in itertools.pairwise(texts))
    evaluation, gates = {"kind": "pairs", "path": str(path)}, {"max_drop": {"spearman_cosine": 0.5}}
    report = save(tmp_path, "feature-extraction", tiny_encoder, evaluation, gates=gates)
    (row,) = report.variants
    assert (row.error, row.passed, report.primary[0]) == (None, True, "spearman_cosine")
    assert {"spearman_cosine", "pearson_cosine", "mean_cosine"} <= row.intervals.keys()


def test_retrieval(tmp_path, bento_home, tiny_encoder):
    texts, _ = labelled_texts(15, seed=8)
    for name, rows in (("corpus", texts), ("queries", [" ".join(text.split()[:2]) for text in texts[:5]])):
        lines = [json.dumps({"_id": f"{name}{i}", "text": text}) for i, text in enumerate(rows)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "qrels.tsv").write_text("".join(f"queries{i}\tcorpus{i}\t1\n" for i in range(5)))
    report = save(tmp_path, "feature-extraction", tiny_encoder, {"kind": "retrieval", "path": str(tmp_path)})
    (row,) = report.variants
    assert row.error is None
    assert {"ndcg_10", "recall_10", "mrr_10"} <= row.intervals.keys()
    assert len(row.worst) == 5
