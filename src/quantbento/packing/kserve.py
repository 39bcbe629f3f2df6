"""A Bento's model on KServe: an `LLMInferenceService`, which llm-d's scheduler routes to.

KServe runs vLLM's own server, and what surrounds it counts on that: probes and metrics by vLLM's names, TLS by its
flags, its multi-node start, and a volume at /home, which hides the Bento's code there. So these pods do too: KServe's
command, from the Bento's image, which has the vLLM that judged the model, on the model's folder, with the engine
settings it was judged with. The service of the Bento, with its keys and limits, does not run there.

Fields: `pkg/apis/serving/v1alpha2/llm_inference_service_types.go` in kserve/kserve; the command: its
`config/llmisvcconfig`, which passes the variable `VLLM_ADDITIONAL_ARGS` on to vLLM.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.packing.bentos import find
from quantbento.runtimes import artifact
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.store.bento_description import BentoDescription

VERSION, KIND, FILE = "serving.kserve.io/v1alpha2", "LLMInferenceService", "llminferenceservice.yaml"
CONTAINER = "main"  # whose settings KServe merges with its own
URI = re.compile(r"(pvc|s3|hf|oci)://\S+")
KEPT = ("resources",)  # of the templates' container; probes, mounts and security are KServe's


def engine_of(tag: str) -> Any:
    """The settings of vLLM's engine that a Bento's service would have.

    Raises:
        QuantbentoError: the Bento's model is not in the store, or its settings do not go together.
    """
    bento = BentoDescription.read(Path(find(tag).path))
    judged = artifact.describe(store.find(bento.models[0]).path)["runtime_config"].get("engine", {})
    settings = GenerationSettings.of(bento.arguments)
    if settings.problem:
        raise QuantbentoError(f"{bento.tag} was built with settings that cannot be used: {settings.problem}")
    return settings.engine(judged)


def llm_inference_service(
    name: str,
    model: str,
    uri: str,
    engine: Any,
    pod: dict[str, Any],
    version: str,
    nodes: int,
    replicas: int,
    on_cpu: bool,
) -> dict[str, Any]:
    """
    Args:
        name: of the service.
        model: what requests call it.
        uri: of the model's folder.
        engine: its settings.
        pod: the templates' pod, whose resources and tolerations these have.
        version: of the Bento.
        nodes: machines that share the model.
        replicas: how many times the whole model runs.
        on_cpu: whether vLLM's build for CPUs runs it.
    """
    [given] = pod["spec"]["containers"]
    container: dict[str, Any] = {"name": CONTAINER, "image": given["image"]} | {k: given[k] for k in KEPT if k in given}
    if line := engine.command_line(on_cpu=on_cpu):
        container["env"] = [{"name": "VLLM_ADDITIONAL_ARGS", "value": shlex.join(line)}]
    template = {k: pod["spec"][k] for k in ("tolerations",) if k in pod["spec"]} | {"containers": [container]}
    spec: dict[str, Any] = {
        "model": {"uri": uri, "name": model},
        "replicas": replicas,
        "labels": {"app.kubernetes.io/version": version},  # the other usual ones are KServe's, which selects by them
        "router": {"route": {}, "gateway": {}, "scheduler": {}},  # KServe's own of each
        "template": template,
    }
    if nodes > 1:
        spec["parallelism"] = {"pipeline": nodes, "tensor": engine.tensor_parallel_size}
        spec["worker"] = template
    return {"apiVersion": VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
