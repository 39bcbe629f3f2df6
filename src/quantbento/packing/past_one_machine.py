"""What does not go together where a Bento is rendered for more than one machine, or for KServe."""

from __future__ import annotations

from quantbento.packing.kserve import URI
from quantbento.packing.needs import Needs

VLLM = "vllm"  # the runtime


def conflicts(needs: Needs, overlay: str, keda: bool, nodes: int | None, model_uri: str | None) -> list[str]:
    """Why a Bento cannot be rendered for `nodes` machines, or for KServe with the model at `model_uri`."""
    problems = []
    asked = [name for name, given in (("--nodes", nodes), ("--kserve", model_uri)) if given is not None]
    if asked and needs.runtime != VLLM:
        problems.append(f"{' and '.join(asked)}: for models on vLLM; this Bento's runtime is {needs.runtime}")
    if asked and keda:
        problems.append(f"--keda scales a Deployment, and {asked[-1]} makes none; leave one of them out")
    if nodes is not None and needs.runtime == VLLM and overlay == "cpu":
        told = "vLLM's build for CPUs loads a model on several machines, but computes on one only"
        problems.append(f"--nodes {nodes}: {told}; build the Bento with a GPU (`quantbento build MODEL --gpu`)")
    if nodes is not None and nodes < 2:
        problems.append(f"--nodes {nodes}: at least 2 machines share a model; leave it out for one")
    if model_uri is not None and not URI.fullmatch(model_uri):
        problems.append(
            f"--kserve {model_uri!r} is no place that KServe reads: pvc://CLAIM/PATH, s3://, hf:// or oci://; "
            f"`bentoml models get {needs.model} -o FOLDER` copies the model out of the store"
        )
    return problems
