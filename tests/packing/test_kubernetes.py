"""A Bento rendered for Kubernetes, and what `kubectl` makes of the folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from quantbento.packing import kubernetes
from quantbento.packing.kubernetes import QUERY, VLLM_QUERY, Rendered
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.settings import ServiceSettings
from tests.conftest import ROOT, model_store
from tests.kubectl import Manifests
from tests.packing.test_kubernetes_templates import KUBERNETES
from tests.stored_bento import CPU, GPU, write_bento

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with model_store(tmp_path / "home") as home:
        yield home / "bentos"


def render(tag: str, **options) -> Rendered:
    return kubernetes.render(tag, templates=KUBERNETES, **options)


def rendered(tag: str, **options) -> Manifests:
    """The manifests, as they are for somebody who has the folder alone."""
    alone = Path("elsewhere").absolute()
    shutil.rmtree(alone, ignore_errors=True)
    shutil.move(render(tag, **options).folder, alone)
    return Manifests(alone)


# What is in it


@pytest.mark.parametrize("keda", [False, True], ids=["", "keda"])
@pytest.mark.parametrize("hints", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("replicas", [None, 3], ids=["", "replicas"])
def test_a_rendered_bento_is_valid_kubernetes_under_its_own_name(store, hints, keda, replicas):
    manifests = rendered(write_bento(store, resources=hints), keda=keda, replicas=replicas)
    manifests.validate()
    labels = {
        "app.kubernetes.io/name": "my-encoder",
        "app.kubernetes.io/version": "v1",
        "app.kubernetes.io/managed-by": "quantbento",
    }
    for document in manifests.documents:
        assert document["metadata"]["name"].startswith("my-encoder-bento")
        assert labels.items() <= document["metadata"]["labels"].items()
    assert labels.items() <= manifests.pod_labels.items()
    assert manifests.container["image"] == "my-encoder:v1"
    for kind in {"HorizontalPodAutoscaler", "ScaledObject"} & manifests.kinds:
        assert manifests[kind]["spec"]["scaleTargetRef"]["name"] == manifests["Deployment"]["metadata"]["name"]


def test_selectors_hold_the_bentos_name_and_not_its_version(store):
    for selector in rendered(write_bento(store)).selectors():
        assert selector == {"app.kubernetes.io/name": "my-encoder"}


def test_two_bentos_share_a_namespace(store):
    one, other = rendered(write_bento(store, "one:v1")), rendered(write_bento(store, "other:v1"))
    assert not names(one) & names(other)
    assert not any(selector.items() <= other.pod_labels.items() for selector in one.selectors())


def names(manifests: Manifests) -> set[tuple[str, str]]:
    return {(document["kind"], document["metadata"]["name"]) for document in manifests.documents}


def test_resources_settings_and_grace_are_the_bentos(store):
    hints = {"cpu": "3", "memory": "5Gi"}
    manifests = rendered(write_bento(store, resources=hints, timeout=45.5))
    assert manifests.container["resources"] == {"requests": hints, "limits": hints}
    assert manifests.settings["QUANTBENTO_TIMEOUT_SECONDS"] == "45.5"
    assert manifests.settings["BENTOML_HOME"] == "/tmp/bentoml"
    assert manifests.pod["terminationGracePeriodSeconds"] == 46 + 30


def test_a_bento_without_hints_gets_the_overlays(store):
    of_overlay = Manifests(KUBERNETES / "overlays" / "cpu")
    assert rendered(write_bento(store, resources={})).container["resources"] == of_overlay.container["resources"]


def test_a_bento_that_asks_for_gpus_gets_them(store):
    tag = write_bento(store, resources={**GPU, "gpu": 2}, timeout=600, service="TextGeneration")
    manifests = rendered(tag)
    assert manifests.container["resources"]["requests"] == {"cpu": "4", "memory": "24Gi"}
    assert manifests.container["resources"]["limits"] == {"memory": "24Gi", "nvidia.com/gpu": "2"}
    assert manifests.pod["terminationGracePeriodSeconds"] == 630
    assert "HorizontalPodAutoscaler" not in manifests.kinds


def test_a_bento_that_does_not_say_can_still_go_on_a_gpu(store):
    assert rendered(write_bento(store), overlay="gpu").container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_vllm_on_cpu_gets_no_setting_it_would_refuse(store):
    manifests = rendered(write_bento(store, service="TextGeneration"))
    assert manifests.container.get("env", []) == []


def test_replicas_go_to_whatever_sets_the_number_of_pods(store):
    encoder, model = write_bento(store), write_bento(store, "my-llm:v1", GPU)
    scaled = rendered(encoder, replicas=3)["HorizontalPodAutoscaler"]["spec"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (3, 15)
    assert rendered(model, replicas=3)["Deployment"]["spec"]["replicas"] == 3
    manifests = rendered(model, replicas=3, keda=True)
    assert "replicas" not in manifests["Deployment"]["spec"]
    assert manifests["ScaledObject"]["spec"]["maxReplicaCount"] == 15


def test_keda_asks_for_the_requests_of_this_bento(store):
    manifests = rendered(write_bento(store), keda=True)
    (trigger,) = manifests["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"]["query"] == QUERY.format(name="my-encoder")
    assert "HorizontalPodAutoscaler" not in manifests.kinds


@pytest.mark.parametrize("service", ["TextGeneration", "TextGenerationTransformers"])
def test_keda_asks_for_the_texts_of_vllm_too(store, service):
    llm = write_bento(store, "my-llm:v1", GPU, service=service, model="llama:0a1b", runtime="vllm")
    manifests = rendered(llm, keda=True)
    requests, texts = manifests["ScaledObject"]["spec"]["triggers"]
    assert requests["metadata"]["query"] == QUERY.format(name="my-llm")
    assert texts["metadata"]["query"] == VLLM_QUERY.format(model="llama")


def test_keda_asks_vllm_of_nothing_where_another_runtime_serves(store):
    llm = write_bento(store, "my-llm:v1", GPU, service="TextGeneration", model="llama:0a1b", runtime="transformers")
    (trigger,) = rendered(llm, keda=True)["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"]["query"] == QUERY.format(name="my-llm")


def test_the_queries_are_the_templates_but_for_the_names():
    template = yaml.safe_load((KUBERNETES / "components" / "keda" / "scaledobject.yaml").read_text())
    default = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["name"]
    requests, texts = [trigger["metadata"]["query"] for trigger in template["spec"]["triggers"]]
    assert requests == QUERY.format(name=default)
    assert texts == VLLM_QUERY.format(model="tiny-llama-autoround")


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("registry.example:5000/team/encoder:prod", "registry.example:5000/team/encoder:prod"),
        ("registry.example/encoder", "registry.example/encoder:v1"),
        ("localhost:5000/encoder", "localhost:5000/encoder:v1"),
        ("encoder:1.2", "encoder:1.2"),
        (f"registry.example/encoder@{DIGEST}", f"registry.example/encoder@{DIGEST}"),
        (f"registry.example/encoder:prod@{DIGEST}", f"registry.example/encoder@{DIGEST}"),
    ],
    ids=["tag", "no-tag", "port-no-tag", "local", "digest", "tag-and-digest"],
)
def test_the_image_is_the_one_that_was_named(store, image, pulled):
    tag = write_bento(store)
    assert render(tag, image=image).image == pulled
    assert rendered(tag, image=image).container["image"] == pulled


def test_versions_that_look_like_numbers_stay_texts(store):
    for version in ("12e4", "0x1f", "1_000", "123", "1.10"):
        manifests = rendered(write_bento(store, f"my-encoder:{version}"))
        assert manifests.pod_labels["app.kubernetes.io/version"] == version
        assert manifests.container["image"] == f"my-encoder:{version}"


def test_a_name_that_no_service_can_have_is_changed_and_stays_its_own(store):
    tags = ["my.encoder:v1", "my_encoder:v1", "2bento:v1", "a" * 63 + ":v1"]
    services = [rendered(write_bento(store, tag))["Service"]["metadata"]["name"] for tag in tags]
    assert len(set(services)) == len(tags)
    for service in services:
        assert len(f"keda-hpa-{service}") <= 63
        assert service[0].isalpha()
        assert service.replace("-", "").isalnum()


def test_notes_say_what_is_left_to_do(store):
    tag = write_bento(store, resources={**GPU, "gpu_type": "nvidia-l4"})
    image, gpu, keda = render(tag, keda=True).notes
    assert image.startswith("the cluster has to find the image my-encoder:v1;")
    assert gpu.startswith("gpu_type nvidia-l4 chooses no node")
    assert "serverAddress in deploy/kubernetes/components/keda/scaledobject.yaml" in keda
    assert render(write_bento(store, "plain:v1"), image="registry.example/plain").notes == []


def test_a_kustomization_of_the_users_own_goes_on_top_as_the_manual_shows_it(store):
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    render(write_bento(store, "minilm:v1"), output=Path("deploy/rendered/minilm"))
    Path("mine").mkdir()
    Path("mine", "kustomization.yaml").write_text(shown)
    manifests = Manifests(Path("mine"))
    assert manifests.settings["QUANTBENTO_MAX_ITEMS"] == "128"
    assert manifests.settings["QUANTBENTO_TIMEOUT_SECONDS"] == "10"
    reference = {"configMapRef": {"name": manifests["ConfigMap"]["metadata"]["name"]}}
    assert manifests.container["envFrom"] == [reference]


def test_the_manual_names_settings_that_there_are():
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    named = {name.lower() for name in re.findall(r"`?QUANTBENTO_([A-Z_]+)", page)} - {"image", "port"}
    assert named
    assert named <= {*ServiceSettings.model_fields, *GenerationSettings.model_fields}
