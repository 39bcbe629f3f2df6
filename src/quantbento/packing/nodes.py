"""A Bento on several machines that share its model: a LeaderWorkerSet (https://lws.sigs.k8s.io) of groups of pods.

The first pod of a group runs the Bento's own service, with its keys, limits and probes; its engine is vLLM's own
multi-node start. The others run `quantbento.serving.generation.vllm_worker` from the same image, which becomes vLLM's
`serve --headless`. LeaderWorkerSet tells each pod its place and the first one's address, and starts a group anew when
one of its containers ends. Fields: `api/leaderworkerset/v1/leaderworkerset_types.go` in kubernetes-sigs/lws.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from quantbento.packing.pod import pod_template

VERSION, KIND = "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"
FILE, COMPONENT = "leaderworkerset.yaml", "components/nodes"
SOURCE = "/home/bentoml/bento/src"  # in images of BentoML and of `quantbento containerize`
WORKER = ["python", "-m", "quantbento.serving.generation.vllm_worker"]  # the image's entrypoint runs it
OF_A_SERVER = ("ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle")


def leader_worker_set(
    name: str,
    templates: Path,
    overlay: str,
    deployment: dict[str, Any],
    labels: dict[str, str],
    nodes: int,
    groups: int,
) -> dict[str, Any]:
    """
    Args:
        name: of everything in the templates.
        templates, overlay: whose pods these are.
        deployment: what is the Bento's own of its pods.
        labels: of each pod.
        nodes: pods of a group.
        groups: how many groups, each with the whole model.
    """
    leader = pod_template(templates, overlay, deployment)
    leader["metadata"]["labels"] |= labels
    # The groups are spread by what each pod asks for; these count Deployment's pods by labels that Kustomize sets.
    leader["spec"].pop("topologySpreadConstraints", None)
    [container] = leader["spec"]["containers"]
    container["env"] = [*container.get("env", []), *_environment(nodes)]
    worker = copy.deepcopy(leader)
    worker["metadata"].pop("annotations", None)  # it has no metrics to scrape
    [container] = worker["spec"]["containers"]
    for part in OF_A_SERVER:
        container.pop(part, None)
    container |= {"args": WORKER, "workingDir": SOURCE}
    template = {
        "size": nodes,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "leaderTemplate": leader,
        "workerTemplate": worker,
    }
    spec = {"replicas": groups, "startupPolicy": "LeaderCreated", "leaderWorkerTemplate": template}
    return {"apiVersion": VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def _environment(nodes: int) -> list[dict[str, Any]]:
    """LeaderWorkerSet puts its own variables before these, so that these can refer to them."""
    return [
        {"name": "QUANTBENTO_NODES", "value": str(nodes)},
        {"name": "QUANTBENTO_NODE_RANK", "value": "$(LWS_WORKER_INDEX)"},
        {"name": "QUANTBENTO_LEADER", "value": "$(LWS_LEADER_ADDRESS)"},
        # What vLLM tells the other machines of itself; by itself it would choose one of the pod's interfaces.
        {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
