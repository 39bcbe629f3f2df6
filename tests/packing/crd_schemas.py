"""Small JSON schemas of custom resources, as far as this project writes them; what they do not name is refused.

Written from the types that the projects document:
LeaderWorkerSet: `api/leaderworkerset/v1/leaderworkerset_types.go` in kubernetes-sigs/lws.
LLMInferenceService: `pkg/apis/serving/v1alpha2/llm_inference_service_types.go` in kserve/kserve.
Their pods are Kubernetes' own, and are checked against Kubernetes' schemas (`pods`).
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

from tests.kubectl import SCHEMAS

Document = dict[str, Any]
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
POD = {"type": "object"}  # checked by itself


def of(required: list[str], **properties: Any) -> Document:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def kind(version: str, name: str, spec: Document) -> Document:
    metadata = of(["name"], name={"type": "string", "maxLength": 63}, namespace={"type": "string"}, labels=TEXTS)
    head = {"apiVersion": {"const": version}, "kind": {"const": name}}
    return of(["apiVersion", "kind", "metadata", "spec"], **head, metadata=metadata, spec=spec)


LEADER_WORKER_SET = kind(
    "leaderworkerset.x-k8s.io/v1",
    "LeaderWorkerSet",
    of(
        ["leaderWorkerTemplate"],
        replicas=COUNT,
        startupPolicy={"enum": ["LeaderCreated", "LeaderReady"]},
        leaderWorkerTemplate=of(
            ["workerTemplate"],
            size={"type": "integer", "minimum": 1},
            restartPolicy={"enum": ["RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None"]},
            leaderTemplate=POD,
            workerTemplate=POD,
        ),
    ),
)
LLM_INFERENCE_SERVICE = kind(
    "serving.kserve.io/v1alpha2",
    "LLMInferenceService",
    of(
        ["model", "template"],
        model=of(["uri"], uri={"type": "string", "pattern": "^[a-z0-9]+://."}, name={"type": "string"}),
        replicas=COUNT,
        labels=TEXTS,
        parallelism=of([], pipeline={"type": "integer", "minimum": 1}, tensor={"type": "integer", "minimum": 1}),
        router=of([], route={"type": "object"}, gateway={"type": "object"}, scheduler={"type": "object"}),
        template=POD,
        worker=POD,
    ),
)
BY_KIND = {"LeaderWorkerSet": LEADER_WORKER_SET, "LLMInferenceService": LLM_INFERENCE_SERVICE}


def pods(document: Document) -> list[Document]:
    """Each pod of a custom resource, as a Pod of Kubernetes'."""
    spec = document["spec"]
    if document["kind"] == "LeaderWorkerSet":
        found = [spec["leaderWorkerTemplate"][name] for name in ("leaderTemplate", "workerTemplate")]
    else:
        found = [{"spec": spec[name]} for name in ("template", "worker") if name in spec]
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **pod.get("metadata", {})}, "spec": pod["spec"]}
        for pod in found
    ]


def validate(document: Document) -> None:
    """Checks a custom resource against its schema, and its pods against Kubernetes'; unknown fields are refused."""
    schema = BY_KIND[document["kind"]]
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    if document["kind"] == "LLMInferenceService" and "worker" in document["spec"]:
        # KServe's webhook (`llm_inference_service_validation.go`): a worker needs pipeline or data parallelism.
        assert document["spec"]["parallelism"]["pipeline"] > 1
    for pod in pods(document):
        for version in SCHEMAS:
            kubernetes_validate.validate(pod, version, strict=True)
