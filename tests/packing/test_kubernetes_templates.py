"""The manifests of `deploy/kubernetes`: they build, Kubernetes' schemas accept them, and they fit what they run."""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
from pathlib import Path

import kubernetes_validate
import pytest

from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.settings import PREFIX, ServiceSettings
from tests.conftest import ROOT
from tests.kubectl import SCHEMAS, Manifests

KUBERNETES = ROOT / "deploy" / "kubernetes"
CASES = {
    "base": ["base"],
    "cpu": ["overlays/cpu"],
    "gpu": ["overlays/gpu"],
    "cpu-keda": ["overlays/cpu", "components/keda"],
    "gpu-keda": ["overlays/gpu", "components/keda"],
}
KINDS = {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"}
SCALERS = {
    "base": {"HorizontalPodAutoscaler"},
    "cpu": {"HorizontalPodAutoscaler"},
    "gpu": set(),
    "cpu-keda": {"ScaledObject"},
    "gpu-keda": {"ScaledObject"},
}
every_case = pytest.mark.parametrize("case", CASES)


@functools.cache
def built(case: str) -> Manifests:
    with tempfile.TemporaryDirectory() as folder:
        first, *components = [os.path.relpath(KUBERNETES / part, Path(folder).resolve()) for part in CASES[case]]
        Path(folder, "kustomization.yaml").write_text(json.dumps({"resources": [first], "components": components}))
        return Manifests(Path(folder))


@every_case
def test_every_document_is_what_kubernetes_schemas_allow(case):
    assert built(case).kinds == KINDS | SCALERS[case]
    built(case).validate()


def test_the_schemas_refuse_a_misspelt_field():
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, SCHEMAS[0], strict=True)


@every_case
def test_every_selector_chooses_the_pods(case):
    for selector in built(case).selectors():
        assert selector
        assert selector.items() <= built(case).pod_labels.items()


@every_case
def test_every_reference_names_what_is_there(case):
    manifests = built(case)
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "name": manifests["Deployment"]["metadata"]["name"]}
    for scaler in SCALERS[case]:
        assert manifests[scaler]["spec"]["scaleTargetRef"] == deployment
    assert manifests.pod["serviceAccountName"] == manifests["ServiceAccount"]["metadata"]["name"]
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] in {p["name"] for p in manifests.container["ports"]}
    assert {m["name"] for m in manifests.container["volumeMounts"]} == {v["name"] for v in manifests.pod["volumes"]}


@every_case
def test_replicas_are_set_only_where_nothing_scales(case):
    assert ("replicas" in built(case)["Deployment"]["spec"]) is not bool(SCALERS[case])


@every_case
def test_changed_settings_roll_the_pods(case):
    name = built(case)["ConfigMap"]["metadata"]["name"]
    assert re.fullmatch(r"bento-settings-\w{10}", name)
    assert built(case).container["envFrom"] == [{"configMapRef": {"name": name}}]


# The pods


@every_case
def test_probes_ask_bentomls_endpoints(case):
    container = built(case).container
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 3000}]


@pytest.mark.parametrize(("case", "seconds"), [("cpu", 300), ("gpu", 1800)])
def test_a_model_has_time_to_load_before_the_rollout_counts_as_failed(case, seconds):
    probe = built(case).container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= seconds
    deadline = built(case)["Deployment"]["spec"].get("progressDeadlineSeconds", 600)  # Kubernetes' own
    waits = built(case)["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    grace = built(case).pod["terminationGracePeriodSeconds"] if waits else 0
    assert deadline > probe["periodSeconds"] * probe["failureThreshold"] + grace


@every_case
def test_a_pod_ends_after_its_longest_request(case):
    command, pause = built(case).container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    longest = float(built(case).settings["QUANTBENTO_TIMEOUT_SECONDS"])
    assert longest >= (GenerationSettings if "gpu" in case else ServiceSettings).model_fields["timeout_seconds"].default
    assert built(case).pod["terminationGracePeriodSeconds"] >= int(pause) + longest + 10


@every_case
def test_a_pod_fits_the_restricted_security_standard(case):
    manifests = built(case)
    pod, container = manifests.pod["securityContext"], manifests.container["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["runAsGroup"]) == (True, 1034, 1034)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert manifests.pod["automountServiceAccountToken"] is False
    assert manifests["ServiceAccount"]["automountServiceAccountToken"] is False
    assert {key for volume in manifests.pod["volumes"] for key in volume} == {"name", "emptyDir"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & manifests.pod.keys()


@every_case
def test_what_is_written_lies_where_a_pod_may_write(case):
    manifests = built(case)
    assert {"name": "tmp", "mountPath": "/tmp"} in manifests.container["volumeMounts"]
    assert all("sizeLimit" in volume["emptyDir"] for volume in manifests.pod["volumes"])
    assert all(Path(manifests.settings[name]).is_relative_to("/tmp") for name in ("HOME", "BENTOML_HOME"))
    assert manifests.settings["BENTOML_DO_NOT_TRACK"] == "True"


@every_case
def test_memory_is_requested_as_a_whole(case):
    resources = built(case).container["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert resources["requests"]["cpu"]


@every_case
def test_a_rollout_takes_no_pod_away_unless_its_gpu_is_needed(case):
    strategy = built(case)["Deployment"]["spec"]["strategy"]
    spare = {"maxSurge": 0, "maxUnavailable": 1} if "gpu" in case else {"maxSurge": 1, "maxUnavailable": 0}
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": spare}


@every_case
def test_a_node_can_always_be_drained(case):
    assert built(case)["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_gpu_pods_get_a_gpu_and_shared_memory():
    manifests = built("gpu")
    limits = manifests.container["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert "cpu" not in limits
    assert {"name": "shm", "mountPath": "/dev/shm"} in manifests.container["volumeMounts"]
    (shared,) = [volume["emptyDir"] for volume in manifests.pod["volumes"] if volume["name"] == "shm"]
    assert shared["medium"] == "Memory"
    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert manifests.pod["tolerations"] == [tolerated]


# The settings


@pytest.mark.parametrize(
    ("case", "kinds"), [("cpu", [ServiceSettings]), ("gpu", [GenerationSettings])], ids=["cpu", "gpu"]
)
def test_the_services_of_an_overlay_take_its_settings(case, kinds, monkeypatch):
    given = built(case).settings | {variable["name"]: "2" for variable in built(case).container.get("env", [])}
    ours = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    assert len(ours) >= 3
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    for kind in kinds:
        settings = kind.model_validate({})
        assert settings.timeout_seconds == float(ours["QUANTBENTO_TIMEOUT_SECONDS"])


@every_case
def test_no_service_of_the_namespace_becomes_a_setting(case, monkeypatch):
    """With service links a Service `quantbento-model-bento` is an environment variable that settings refuse."""
    assert built(case).pod["enableServiceLinks"] is False
    monkeypatch.setenv("QUANTBENTO_MODEL_BENTO_PORT", "tcp://10.0.0.1:3000")
    with pytest.raises(ValueError, match="unknown setting QUANTBENTO_MODEL_BENTO_PORT"):
        ServiceSettings.model_validate({})
