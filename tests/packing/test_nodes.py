"""A Bento on several machines that share its model: what `kubectl` makes of a rendered LeaderWorkerSet."""

from __future__ import annotations

import shutil

import pytest
import yaml
from jsonschema import ValidationError

from quantbento.core.errors import QuantbentoError
from quantbento.packing import kubernetes
from quantbento.packing.nodes import SOURCE, WORKER
from quantbento.serving.generation import vllm_worker
from quantbento.serving.generation.settings import GenerationSettings
from tests.conftest import model_store
from tests.kubectl import Manifests
from tests.packing import crd_schemas
from tests.packing.test_kubernetes import render, rendered
from tests.packing.test_kubernetes_templates import KUBERNETES, built
from tests.packing.test_pod import by_name
from tests.stored_bento import GPU, write_bento

INDEX = "leaderworkerset.sigs.k8s.io/worker-index"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with model_store(tmp_path / "home") as home:
        yield home / "bentos"


def llm(store, **options) -> str:
    given = {"resources": {**GPU, "gpu": 2}, "timeout": 600, "service": "TextGeneration", "runtime": "vllm"}
    return write_bento(store, "my-llm:v1", **given | options)


@pytest.fixture
def manifests(store) -> Manifests:
    return rendered(llm(store), nodes=2, replicas=3, image="registry.example/llm:7")


def templates(manifests: Manifests) -> list[dict]:
    group = manifests["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"]
    return [group["leaderTemplate"], group["workerTemplate"]]


def container(template: dict) -> dict:
    [only] = template["spec"]["containers"]
    return only


def test_everything_is_what_the_schemas_allow(manifests):
    assert manifests.kinds == {"ConfigMap", "LeaderWorkerSet", "PodDisruptionBudget", "Service", "ServiceAccount"}
    for document in manifests.documents:
        if document["kind"] == "LeaderWorkerSet":
            crd_schemas.validate(document)
    manifests.documents = [d for d in manifests.documents if d["kind"] != "LeaderWorkerSet"]
    manifests.validate()


def test_the_small_schema_refuses_a_misspelt_field(manifests):
    document = manifests["LeaderWorkerSet"]
    document["spec"]["leaderWorkerTemplate"]["sizes"] = 2
    with pytest.raises(ValidationError, match="sizes"):
        crd_schemas.validate(document)


def test_groups_have_the_machines_and_each_pod_the_bentos_resources(manifests):
    spec = manifests["LeaderWorkerSet"]["spec"]
    assert (spec["replicas"], spec["leaderWorkerTemplate"]["size"]) == (3, 2)
    for template in templates(manifests):
        assert container(template)["image"] == "registry.example/llm:7"
        assert container(template)["resources"]["limits"] == {"memory": "24Gi", "nvidia.com/gpu": "2"}
        assert template["spec"]["terminationGracePeriodSeconds"] == 630
        assert template["metadata"]["labels"]["app.kubernetes.io/version"] == "v1"


def test_names_get_the_prefix_and_the_hash_of_the_settings(manifests):
    assert manifests["LeaderWorkerSet"]["metadata"]["name"] == "my-llm-bento"
    settings, account = manifests["ConfigMap"]["metadata"]["name"], manifests["ServiceAccount"]["metadata"]["name"]
    assert settings.startswith("my-llm-bento-settings-")
    for template in templates(manifests):
        assert container(template)["envFrom"] == [{"configMapRef": {"name": settings}}]
        assert template["spec"]["serviceAccountName"] == account == "my-llm-bento"


def test_requests_reach_the_first_pod_of_a_group_only(manifests):
    leader, worker = templates(manifests)
    for selector in (
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == {"app.kubernetes.io/name": "my-llm", INDEX: "0"}
        for template in (leader, worker):  # LeaderWorkerSet sets the other label
            assert (selector.items() - {INDEX: "0"}.items()) <= template["metadata"]["labels"].items()


def test_the_first_pod_is_the_overlays_and_the_others_are_its_engine_without_a_server(manifests):
    leader, worker = (container(template) for template in templates(manifests))
    of_overlay = built("gpu").container
    assert "args" not in leader and "command" not in leader
    for part in ("ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        assert leader[part] == of_overlay[part]
        assert part not in worker
    assert (worker["args"], worker["workingDir"]) == (WORKER, SOURCE)
    assert ["python", "-m", vllm_worker.__name__] == WORKER
    for each in (leader, worker):
        assert each["securityContext"] == of_overlay["securityContext"]
        assert by_name(each["volumeMounts"]) == by_name(of_overlay["volumeMounts"])


def test_the_service_takes_what_its_pod_is_told(manifests, monkeypatch):
    by_lws = {"LWS_WORKER_INDEX": "1", "LWS_LEADER_ADDRESS": "my-llm-bento-0.my-llm-bento.default"}
    for variable in container(templates(manifests)[1])["env"]:
        value = variable.get("value", "10.0.0.7")
        for name, told in by_lws.items():
            value = value.replace(f"$({name})", told)
        assert "$(" not in value
        monkeypatch.setenv(variable["name"], value)
    settings = GenerationSettings.model_validate({})
    assert (settings.nodes, settings.node_rank, settings.leader) == (2, 1, by_lws["LWS_LEADER_ADDRESS"])


def test_what_a_user_changed_in_the_templates_is_in_the_pods(store, tmp_path):
    own = tmp_path / "templates"
    shutil.copytree(KUBERNETES, own)
    base = own / "base" / "deployment.yaml"
    changed = yaml.safe_load(base.read_text())
    changed["spec"]["template"]["spec"]["nodeSelector"] = {"gpu": "h100"}
    base.write_text(yaml.safe_dump(changed))
    folder = kubernetes.render(llm(store), nodes=2, templates=own).folder
    made = yaml.safe_load((folder / "leaderworkerset.yaml").read_text())["spec"]["leaderWorkerTemplate"]
    assert made["workerTemplate"]["spec"]["nodeSelector"] == {"gpu": "h100"}


def test_a_bento_for_cpus_is_refused(store):
    tag = llm(store, resources={"cpu": 4})
    with pytest.raises(
        QuantbentoError, match=r"--nodes 2: vLLM's build for CPUs loads .* but computes on one only; build"
    ):
        render(tag, nodes=2)
    assert render(tag, nodes=None)


def test_all_that_does_not_go_together_is_said_at_once(store):
    tag = write_bento(store, "small:v1", runtime="onnx")
    with pytest.raises(QuantbentoError) as raised:
        render(tag, nodes=1, keda=True, model_uri="/models/here")
    told = str(raised.value)
    for part in (
        "--nodes and --kserve: for models on vLLM; this Bento's runtime is onnx",
        "--keda scales a Deployment",
        "--nodes 1: at least 2 machines",
        "--kserve '/models/here' is no place that KServe reads: pvc://CLAIM/PATH",
    ):
        assert part in told
