"""The dashboard and the alerts in deploy/: valid, and of metrics that real services export, by their labels."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from examples.server import bento, serve
from quantbento.serving.process_metrics import _nvml
from quantbento.serving.slo import SLOW
from quantbento.serving.slo_file import read_objectives
from quantbento.serving.traffic_metrics import OTHER, STATIC, SYSTEM
from tests.conftest import ROOT, model_store
from tests.packing.test_keda import vllm_metrics
from tests.stored_llama import store_llama
from tests.stored_texts import server_of
from tests.tiny_llama import write_tiny_llama

ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
OF_PROMETHEUS = {"job", "instance"}  # labels that it adds
ITEM = [0.25, 0.5, 0.75, 1.0]
DURATION = r"(\d+(ms|[smhdwy]))+"


def parsed(text: str) -> Any:
    """PromQL; raises where it is none."""
    return promql_parser.parse(text.replace("$__rate_interval", "5m"))


def selectors(node: Any) -> Iterator[Any]:
    """The metrics that an expression asks for."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "args", "param", "vector_selector"):
        inner = getattr(node, name, None)
        for each in inner if isinstance(inner, list) else [inner]:
            if each is not None:
                yield from selectors(each)


def asked() -> dict[str, set[str]]:
    """The labels that the files ask for, by metric, without what the alerts' own rules record."""
    found: dict[str, set[str]] = defaultdict(set)
    queries = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
    queries += [rule["expr"] for rule in RULES]
    for query in queries:
        for selector in selectors(parsed(query)):
            found[selector.name] |= {matcher.name for matcher in selector.matchers.matchers} - OF_PROMETHEUS
    for rule in RULES:
        found.pop(rule.get("record"), None)
    return found


def exported(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] |= sample.labels.keys()
    return found


def test_the_alerts_have_prometheus_shape():
    assert ALERTS.keys() == {"groups"}
    assert Counter(group["name"] for group in ALERTS["groups"]).most_common(1)[0][1] == 1
    for rule in RULES:
        parsed(rule["expr"])
        if "record" in rule:
            assert rule.keys() == {"record", "expr"}
            assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", rule["record"])
            continue
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Za-z]+", rule["alert"])
        assert re.fullmatch(DURATION, rule["for"])
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description"}
    names = [rule.get("alert") or rule["record"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_alerts_ask_only_for_what_is_recorded():
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    used = {selector.name for rule in RULES for selector in selectors(parsed(rule["expr"]))}
    assert {name for name in used if name.startswith("quantbento:")} == recorded


def test_the_dashboard_can_be_imported_with_any_prometheus():
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    assert "id" not in DASHBOARD  # Grafana gives it one
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    source, job = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert job["definition"] == "label_values(bentoml_service_request_total, job)"
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for part in [panel, *panel["targets"]] if panel["type"] != "row" else []:
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel.get("targets", ()):
            parsed(target["expr"])
    assert {variable for text in map(json.dumps, PANELS) for variable in re.findall(r"\$\{?(\w+)", text)} == {
        "datasource",
        "job",
        "__rate_interval",
    }


def test_the_alerts_targets_are_the_objectives():
    objectives = read_objectives(ROOT / "deploy/slo.yaml")
    texts = {rule.get("alert") or rule["record"]: rule["expr"] for rule in RULES}
    assert f"> 14.4 * {1 - objectives.availability.target:.3f}\n" in texts["QuantbentoErrorBudgetBurnsFast"]
    assert f"> 6 * {SLOW}\n" in texts["QuantbentoLatencyBudgetBurns"]
    slow = [text for name, text in texts.items() if name.startswith("quantbento:slow:")]
    assert all(f'le="{objectives.latency_p95.target}"' in text for text in slow)


def test_probes_and_pages_are_no_requests():
    queries = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
    queries += [rule["expr"] for rule in RULES]
    left_out = {paths for query in queries for paths in re.findall(r'endpoint!~"(.*?)"', query)}
    assert [set(paths.split("|")) for paths in left_out] == [{*SYSTEM, STATIC, OTHER}]


@pytest.mark.slow
@pytest.mark.server
def test_every_metric_is_exported_with_its_labels(served_home, tmp_path):
    with server_of("TensorModel", "tiny-tensor-onnx-int8", served_home, tmp_path, cache_items=8) as server:
        for items in ([ITEM], [ITEM, ITEM], ["no array"]):
            httpx.post(f"{server.url}/predict", json={"inputs": items}, timeout=30)
        found = exported(server.metrics())
    (folder := tmp_path / "llama").mkdir()
    with model_store(tmp_path / "bentoml") as home:
        store_llama("tiny", write_tiny_llama(folder), "transformers")
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": "tiny"}
    with serve(bento("service:TextGeneration"), environment, tmp_path / "texts.log", 200) as server:
        answer = httpx.post(f"{server.url}/generate", json={"prompt": "def", "max_tokens": 3}, timeout=60)
        assert answer.json()["tokens_generated"] == 3
        found |= exported(server.metrics())
    assert found["quantbento_model_info"] == {"model", "digest", "task", "runtime"}
    vllms = {name + suffix for name in vllm_metrics() for suffix in ("", "_bucket", "_total")}
    for metric, labels in asked().items():
        if metric.startswith("vllm:"):
            assert metric in vllms
        elif not metric.startswith("quantbento_gpu_") or _nvml():
            assert metric in found
            assert labels <= found[metric], metric
