"""A recipe's variants on several machines: a Kubernetes Job for each, in a Kueue queue or not, and a SkyPilot task.

The templates are in `deploy/sweep`. Kueue (https://kueue.sigs.k8s.io/docs/tasks/run/jobs) needs a label with the
queue's name, and a Job that starts suspended. SkyPilot's file:
https://docs.skypilot.co/en/latest/reference/yaml-spec.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError
from quantbento.packing import kustomization_folder
from quantbento.packing.kubernetes import IMAGE, RENDERED, prefix
from quantbento.packing.needs import QUANTITIES

TEMPLATES = Path("deploy", "sweep")
JOB, SKYPILOT = "job.yaml", "skypilot.yaml"
QUEUE = "kueue.x-k8s.io/queue-name"
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
BUCKET = re.compile(r"(s3|gs|r2|https|cos|nebius|oci|coreweave)://[^\s/]\S*")
ACCELERATOR = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
MARK = "# Written by `quantbento deploy sweep`, which overwrites the whole folder"


@dataclass(frozen=True)
class Machine:
    """What each variant's machine has.

    Attributes:
        cpu, memory: as Kubernetes writes them; a pod gets as much as it asks for, no more and no less.
        gpu: whether it has one GPU.
        accelerator: SkyPilot's name for that GPU.
    """

    cpu: str = "4"
    memory: str = "16Gi"
    gpu: bool = False
    accelerator: str = "L4"


@dataclass(frozen=True)
class Sweep:
    """A folder of rendered files: `kubectl apply -k` takes it."""

    folder: Path
    variants: list[str]
    notes: list[str]


def render(
    recipe: Path,
    name: str,
    variants: Sequence[str],
    image: str,
    *,
    queue: str | None = None,
    claim: str = "quantbento-results",
    bucket: str | None = None,
    machine: Machine | None = None,
    output: Path | None = None,
) -> Sweep:
    """Writes `job-<variant>.yaml` for each variant, `kustomization.yaml` and `skypilot.yaml`.

    Args:
        recipe: its file, below the current folder; the image has the same folder as its working directory.
        name: the recipe's name.
        variants: names of its variants.
        image: with quantbento, the packages that the recipe needs, and the project.
        queue: Kueue's LocalQueue. Without one, Jobs start at once.
        claim: a PersistentVolumeClaim for reports and models that all pods can write to.
        bucket: where SkyPilot's machines write those, for example `s3://my-bucket`; by default one of its own making.
        output: the folder; by default below `RENDERED`. One that `render` wrote is replaced, in one step.

    Raises:
        QuantbentoError: lists all that is wrong.
    """
    machine = machine or Machine()
    named = prefix(f"{name}-sweep")
    if problems := _problems(recipe, image, queue, claim, bucket, machine):
        raise QuantbentoError("\n".join(["the sweep cannot be rendered:", *(f"  - {p}" for p in problems)]))
    place = recipe.resolve().relative_to(Path.cwd()).as_posix()
    files: dict[str, Any] = {
        f"job-{variant}.yaml": _job(place, name, variant, image, queue, claim, machine) for variant in variants
    }
    labels = {"app.kubernetes.io/part-of": named, "app.kubernetes.io/managed-by": "quantbento"}
    files["kustomization.yaml"] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
        "labels": [{"pairs": labels, "includeTemplates": True}],
    }
    files[SKYPILOT] = _skypilot(place, name, image, bucket, machine)
    folder = output or RENDERED / f"{name}-sweep"
    kustomization_folder.write(folder, project_files.find(TEMPLATES), [], files, MARK)
    return Sweep(folder, list(variants), _notes(claim, bucket, machine))


def _problems(
    recipe: Path, image: str, queue: str | None, claim: str, bucket: str | None, machine: Machine
) -> list[str]:
    problems = []
    if not recipe.resolve().is_relative_to(Path.cwd()):
        problems.append(f"{recipe} is not below the current folder, which the image has too; run where the project is")
    if IMAGE.fullmatch(image) is None:
        problems.append(f"image {image!r} is not NAME, NAME:TAG or NAME@sha256:DIGEST, in lower case")
    for what, text in (("queue", queue), ("claim", claim)):
        if text is not None and LABEL.fullmatch(text) is None:
            problems.append(
                f"{what} {text!r} is no name in Kubernetes: lower case letters, digits and hyphens, up to 63"
            )
    if bucket is not None and BUCKET.fullmatch(bucket) is None:
        problems.append(f"bucket {bucket!r} is no address, such as s3://my-bucket or gs://my-bucket")
    for what, text, example in (("cpu", machine.cpu, "4"), ("memory", machine.memory, "16Gi")):
        if re.fullmatch(QUANTITIES[what], text) is None:
            problems.append(f"{what} {text!r} is no quantity of Kubernetes' (for example {example})")
    if ACCELERATOR.fullmatch(machine.accelerator) is None:
        problems.append(f"accelerator {machine.accelerator!r} is no name of a GPU, such as L4 or A100-80GB")
    return problems


def _job(
    recipe: str, name: str, variant: str, image: str, queue: str | None, claim: str, machine: Machine
) -> dict[str, Any]:
    job = _template(JOB)
    job["metadata"] = {"name": prefix(f"{name}-{variant}")}
    if queue is not None:
        job["metadata"]["labels"] = {QUEUE: queue}
        job["spec"]["suspend"] = True  # Kueue lets it run
    pod = job["spec"]["template"]["spec"]
    for volume in pod["volumes"]:
        if "persistentVolumeClaim" in volume:
            volume["persistentVolumeClaim"]["claimName"] = claim
    [container] = pod["containers"]
    container["image"] = image
    own = {"RECIPE": recipe, "VARIANT": variant, "MODEL": f"{name}-{variant}"}
    container["env"] = [{"name": key, "value": value} for key, value in own.items()] + container["env"]
    # As much as it may use: neighbours on the node do not change its timings more than they must.
    amounts = {"cpu": machine.cpu, "memory": machine.memory} | ({"nvidia.com/gpu": "1"} if machine.gpu else {})
    container["resources"] = {"requests": amounts, "limits": dict(amounts)}
    if machine.gpu:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return job


def _skypilot(recipe: str, name: str, image: str, bucket: str | None, machine: Machine) -> dict[str, Any]:
    task = _template(SKYPILOT)
    task["name"] = prefix(f"{name}-sweep")
    task["resources"] = {"image_id": f"docker:{image}", "cpus": f"{_cores(machine.cpu)}+"}
    task["resources"]["memory"] = f"{_gigabytes(machine.memory)}+"
    if machine.gpu:
        task["resources"]["accelerators"] = f"{machine.accelerator}:1"
    results = task["file_mounts"]["/results"]
    results |= {"source": bucket} if bucket else {"name": prefix(f"quantbento-{name}-results")}
    task["envs"] |= {"RECIPE": recipe, "RECIPE_NAME": name}
    return task


def _template(name: str) -> dict[str, Any]:
    path = project_files.find(TEMPLATES / name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise QuantbentoError(f"the template {path} cannot be read: {error}") from error
    assert isinstance(content, dict)
    return content


def _cores(cpu: str) -> int:
    """Whole cores, rounded up, which is how clouds sell them."""
    cores = float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
    return max(1, -int(-cores // 1))


def _gigabytes(memory: str) -> int:
    """Whole GiB, rounded up; SkyPilot counts in those."""
    unit = memory.lstrip("0123456789.")
    power = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    return max(1, -int(-float(memory.removesuffix(unit)) * power.get(unit, 1) // 2**30))


def _notes(claim: str, bucket: str | None, machine: Machine) -> list[str]:
    notes = [f"the cluster needs a PersistentVolumeClaim {claim!r} that several nodes can write to (ReadWriteMany)"]
    if machine.gpu:
        notes.append("each asks for a GPU, because every variant can use one; benchmark: {device: cpu} is for CPUs")
    if bucket is None:
        notes.append("SkyPilot makes a bucket for the results; name one of yours with --bucket")
    return notes
