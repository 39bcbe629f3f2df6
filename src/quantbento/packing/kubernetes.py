"""A Bento's Kubernetes manifests: the templates of `deploy/kubernetes`, and on top of them what is the Bento's own."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError, one_of
from quantbento.core.project_files import TEMPLATES
from quantbento.packing import kserve, kustomization_folder, past_one_machine
from quantbento.packing.needs import Needs, needs_of
from quantbento.packing.nodes import COMPONENT, leader_worker_set
from quantbento.packing.nodes import FILE as NODES_FILE
from quantbento.packing.pod import pod_template

RENDERED = Path("deploy", "rendered")
OVERLAYS = ("cpu", "gpu")
NAME = "bento"  # of everything in the templates; a prefix tells Bentos apart
NAME_LENGTH = 48  # of the prefix: 63 for a Service, less `-bento`, less `keda-hpa-`, which KEDA puts before it
GRACE_SECONDS = 30  # beyond the longest request: the preStop pause, and time to end
MOST_PODS = 5  # times the fewest
QUERY = 'sum(bentoml_service_request_in_progress{{service_name="{name}",endpoint!~"/(livez|readyz|healthz)"}})'
VLLM_QUERY = 'sum({{__name__=~"vllm:num_requests_(running|waiting)",model_name=~"{model}:.+"}})'
IMAGE = re.compile(
    r"(?P<name>(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Rendered:
    """A folder for `kubectl apply -k`, and what a person should know of it."""

    folder: Path
    tag: str
    image: str
    overlay: str
    notes: list[str]


def render(
    tag: str,
    *,
    image: str | None = None,
    overlay: str | None = None,
    replicas: int | None = None,
    keda: bool = False,
    nodes: int | None = None,
    model_uri: str | None = None,
    output: Path | None = None,
    templates: Path | None = None,
) -> Rendered:
    """Writes a self-contained kustomization for a Bento.

    Args:
        tag: of the Bento, `name` or `name:version`.
        image: `name[:tag]` or `name@digest`. By default the Bento's name, and its version as the tag.
        overlay: one of `OVERLAYS`; by default `gpu` for a Bento that asks for a GPU.
        replicas: pods at least, and where something scales them, five times as many at most.
        keda: whether KEDA scales, by requests in progress.
        nodes: machines that share the model, in a LeaderWorkerSet; `replicas` then counts such groups.
        model_uri: where KServe finds the model's folder; an LLMInferenceService is written.
        output: the folder, by default below `RENDERED`. One that `render` wrote is replaced, in one step.
        templates: by default `deploy/kubernetes` in the current folder, else quantbento's own.

    Raises:
        QuantbentoError: no such Bento, it asks for what Kubernetes cannot give, or the folder is somebody else's.
    """
    problems: list[str] = []
    needs = needs_of(tag, problems)
    overlay = overlay or ("gpu" if needs.gpu else "cpu")
    problems += _conflicts(needs, overlay, replicas)
    problems += past_one_machine.conflicts(needs, overlay, keda, nodes, model_uri)
    named = IMAGE.fullmatch(image or needs.tag)
    if named is None:
        problems.append(f"image {image!r} is not NAME, NAME:TAG or NAME@sha256:DIGEST, in lower case")
    if problems or named is None:
        raise QuantbentoError("\n".join([f"{needs.tag} cannot be rendered:", *(f"  - {p}" for p in problems)]))
    version = {"digest": named["digest"]} if named["digest"] else {"newTag": named["tag"] or needs.version}
    folder, templates = output or RENDERED / needs.name, templates or project_files.find(TEMPLATES)
    new_image = {"name": "quantbento", "newName": named["name"], **version}
    parts = ["base", f"overlays/{overlay}"]
    kustomization_folder.check(templates, parts)
    if model_uri is not None:
        parts, files = [], _kserve_files(needs, templates, overlay, new_image, model_uri, nodes or 1, replicas or 1)
    elif nodes is not None:
        parts += [COMPONENT]
        files = _node_files(needs, templates, overlay, new_image, nodes, replicas or 1)
    else:
        parts += ["components/keda"] if keda else []
        files = _files(needs, overlay, new_image, replicas, keda)
    kustomization_folder.write(folder, templates, parts, files)
    full = f"{named['name']}@{named['digest']}" if named["digest"] else f"{named['name']}:{version['newTag']}"
    return Rendered(folder, needs.tag, full, overlay, _notes(needs, image, full, templates if keda else None))


def service_name(bento: str) -> str:
    """What a rendered Bento's Service is called."""
    return f"{prefix(bento)}-{NAME}"


def _conflicts(needs: Needs, overlay: str, replicas: int | None) -> list[str]:
    problems = []
    if overlay not in OVERLAYS:
        problems.append(f"overlay {overlay!r} is not {one_of(OVERLAYS)}")
    elif needs.gpu and overlay == "cpu":
        problems.append("it asks for a GPU, which the overlay 'cpu' has not; leave --overlay out")
    if needs.gpu_type and not needs.gpu_type.startswith("nvidia-"):
        problems.append(f"gpu_type {needs.gpu_type!r}: the overlay 'gpu' is for nvidia.com/gpu; write one for yours")
    if replicas is not None and replicas < 1:
        problems.append(f"replicas must be at least 1, not {replicas}")
    return problems


def _files(needs: Needs, overlay: str, image: dict[str, str], replicas: int | None, keda: bool) -> dict[str, Any]:
    """The files of the top folder by name, as data."""
    files: dict[str, Any] = {"deployment.yaml": _deployment(needs, overlay)}
    patches: list[dict[str, Any]] = [{"path": "deployment.yaml"}]
    pods = {} if replicas is None else {"min": replicas, "max": MOST_PODS * replicas}
    if keda:
        files["scaledobject.yaml"] = _scaled_object(needs, pods)
        patches.append({"path": "scaledobject.yaml", "target": {"kind": "ScaledObject"}})
    elif pods and overlay == "gpu":
        files["deployment.yaml"]["spec"]["replicas"] = replicas
    elif pods:
        limits = {f"{limit}Replicas": count for limit, count in pods.items()}
        files["horizontalpodautoscaler.yaml"] = _patch("autoscaling/v2", "HorizontalPodAutoscaler", limits)
        patches.append({"path": "horizontalpodautoscaler.yaml"})
    components = ["components/keda"] if keda else []
    resources = [f"overlays/{overlay}"]
    files["kustomization.yaml"] = _kustomization(needs, image, resources, components) | {"patches": patches}
    return files


def _node_files(
    needs: Needs, templates: Path, overlay: str, image: dict[str, str], nodes: int, groups: int
) -> dict[str, Any]:
    labels, deployment = _labels(needs), _deployment(needs, overlay)
    made = leader_worker_set(NAME, templates, overlay, deployment, labels, nodes, groups)
    kustomization = _kustomization(needs, image, [f"overlays/{overlay}", NODES_FILE], [COMPONENT])
    return {NODES_FILE: made, "kustomization.yaml": kustomization}


def _kserve_files(
    needs: Needs, templates: Path, overlay: str, image: dict[str, str], uri: str, nodes: int, replicas: int
) -> dict[str, Any]:
    pod, engine = pod_template(templates, overlay, _deployment(needs, overlay)), kserve.engine_of(needs.tag)
    name, model = prefix(needs.name), needs.model or needs.name
    made = kserve.llm_inference_service(name, model, uri, engine, pod, needs.version, nodes, replicas, overlay == "cpu")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [kserve.FILE],
        "images": [image],
    }
    return {kserve.FILE: made, "kustomization.yaml": kustomization}


def _labels(needs: Needs) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": needs.name,
        "app.kubernetes.io/version": needs.version,
        "app.kubernetes.io/managed-by": "quantbento",
    }


def _kustomization(needs: Needs, image: dict[str, str], resources: list[str], components: list[str]) -> dict[str, Any]:
    """What is on top of the templates for every Bento."""
    settings = [f"QUANTBENTO_TIMEOUT_SECONDS={needs.timeout_seconds:g}"]
    name, *others = _labels(needs).items()
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        **({"components": components} if components else {}),
        "namePrefix": f"{prefix(needs.name)}-",
        "labels": [
            {"pairs": dict([name]), "includeSelectors": True},
            {"pairs": dict(others), "includeTemplates": True},  # no selectors: nobody can change those later
        ],
        "images": [image],
        "configMapGenerator": [{"name": "bento-settings", "behavior": "merge", "literals": settings}],
    }


def _deployment(needs: Needs, overlay: str) -> dict[str, Any]:
    requests = {k: v for k, v in {"cpu": needs.cpu, "memory": needs.memory}.items() if v}
    limits = {k: v for k, v in requests.items() if k == "memory" or overlay == "cpu"}
    if needs.gpu:
        limits["nvidia.com/gpu"] = str(needs.gpu)
    container: dict[str, Any] = {"name": NAME, "resources": {"requests": requests, "limits": limits}}
    grace = math.ceil(needs.timeout_seconds) + GRACE_SECONDS
    pod = {"terminationGracePeriodSeconds": grace, "containers": [container]}
    return _patch("apps/v1", "Deployment", {"template": {"spec": pod}})


def _scaled_object(needs: Needs, pods: dict[str, int]) -> list[dict[str, Any]]:
    vllm = VLLM_QUERY.format(model=needs.model) if needs.runtime == past_one_machine.VLLM and needs.model else None
    new = {"triggers/0/metadata/query": QUERY.format(name=needs.name), "triggers/1/metadata/query": vllm}
    changes: list[dict[str, Any]] = [
        {"op": "replace", "path": f"/spec/{place}", "value": value} for place, value in new.items() if value
    ]
    changes += [{"op": "replace", "path": f"/spec/{limit}ReplicaCount", "value": n} for limit, n in pods.items()]
    return changes if vllm else [*changes, {"op": "remove", "path": "/spec/triggers/1"}]


def _patch(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME}, "spec": spec}


def prefix(name: str) -> str:
    """A Bento's name where a DNS label can hold it, else one made of it that no other Bento gets."""
    if re.fullmatch(r"[a-z][a-z0-9-]*", name) and len(name) <= NAME_LENGTH:
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name if name[0].isalpha() else f"b-{name}")
    return f"{plain[: NAME_LENGTH - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _notes(needs: Needs, given: str | None, image: str, keda: Path | None) -> list[str]:
    """What a person should know; `keda` are the templates that KEDA's was taken from."""
    notes = []
    if given is None:
        notes.append(f"the cluster has to find the image {image}; in a registry of yours, name it with --image")
    if needs.gpu_type:
        notes.append(
            f"gpu_type {needs.gpu_type} chooses no node: clusters label theirs differently, for example with "
            "cloud.google.com/gke-accelerator or nvidia.com/gpu.product; add a nodeSelector"
        )
    if keda is not None:
        place = TEMPLATES / "components" / "keda" / "scaledobject.yaml"
        copy = "" if keda == TEMPLATES else f"copy {keda} to {TEMPLATES}: "
        notes.append(f"{copy}serverAddress in {place} has to be that of your Prometheus; render again after a change")
    return notes
