"""`deploy/kubernetes/components/keda`, for which there is no schema: its fields by hand, its metrics where they come
from."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packing.test_kubernetes_templates import built

# What KEDA's specification of a ScaledObject has, as far as we use it.
SCALED_OBJECT = {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "advanced", "triggers"}


@pytest.mark.parametrize("case", ["cpu-keda", "gpu-keda"])
def test_keda_scales_on_metrics_that_there_are(case):
    scaled = built(case)["ScaledObject"]
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"].keys() == SCALED_OBJECT
    assert 1 <= scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"]
    triggers = scaled["spec"]["triggers"]
    for trigger in triggers:
        assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
        assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert float(trigger["metadata"]["threshold"]) > 0
    requests, texts = [trigger["metadata"]["query"] for trigger in triggers]
    metric, labels = re.fullmatch(r"sum\((\w+)\{(.+)\}\)", requests).groups()
    assert set(re.findall(r"(\w+)[=!]", labels)) <= bentoml_metrics()[metric]
    assert '"vllm:num_requests_(running|waiting)"' in texts
    assert {"vllm:num_requests_running", "vllm:num_requests_waiting"} <= vllm_metrics()


def vllm_metrics() -> set[str]:
    (package,) = importlib.util.find_spec("vllm").submodule_search_locations
    return set(re.findall(r'name="(vllm:\w+)"', Path(package, "v1", "metrics", "loggers.py").read_text()))


def bentoml_metrics() -> dict[str, set[str]]:
    """The names of what BentoML counts of a service's requests, and their labels."""
    import bentoml._internal.configuration.v2 as configuration
    from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

    found: dict[str, set[str]] = {}

    class Client:
        def __getattr__(self, kind: str):
            def metric(namespace: str, name: str, labelnames: list[str], **rest: Any) -> Client:
                found[f"{namespace}_{name}"] = set(labelnames)
                return self

            return metric

    defaults = Path(configuration.__file__).with_name("default_configuration.yaml")
    namespace = yaml.safe_load(defaults.read_text())["services"]["metrics"]["namespace"]
    RunnerTrafficMetricsMiddleware(None, namespace)._setup(metrics_client=Client())
    return found
