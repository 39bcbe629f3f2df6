"""The output of `kubectl kustomize` for a folder, and Kubernetes' schemas to check it against."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

OLDEST_KUBECTL = (1, 27)
SCHEMAS = ("1.27", kubernetes_validate.latest_version())

Document = dict[str, Any]


class Manifests:
    """The output of `kubectl kustomize` for a folder. Tests that need kubectl are skipped where there is none."""

    def __init__(self, folder: Path) -> None:
        done = subprocess.run([usable_kubectl(), "kustomize", str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "kustomize warns of what a later version will refuse"
        self.text = done.stdout
        self.documents: list[Document] = list(yaml.safe_load_all(done.stdout))

    def __getitem__(self, kind: str) -> Document:
        (only,) = [document for document in self.documents if document["kind"] == kind]
        return only

    @property
    def kinds(self) -> set[str]:
        return {document["kind"] for document in self.documents}

    @property
    def pod(self) -> Document:
        return self["Deployment"]["spec"]["template"]["spec"]

    @property
    def pod_labels(self) -> dict[str, str]:
        return self["Deployment"]["spec"]["template"]["metadata"]["labels"]

    @property
    def container(self) -> Document:
        (only,) = self.pod["containers"]
        return only

    @property
    def settings(self) -> dict[str, str]:
        return self["ConfigMap"]["data"]

    def selectors(self) -> list[dict[str, str]]:
        """Everything that chooses pods by their labels."""
        spread = [constraint["labelSelector"] for constraint in self.pod["topologySpreadConstraints"]]
        owners = [self[kind]["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget")]
        return [self["Service"]["spec"]["selector"], *(each["matchLabels"] for each in (*owners, *spread))]

    def validate(self) -> None:
        """Checks against Kubernetes' own schemas, unknown fields refused. KEDA's ScaledObject has no schema here."""
        for document in self.documents:
            for version in SCHEMAS if document["kind"] != "ScaledObject" else ():
                kubernetes_validate.validate(document, version, strict=True)


def usable_kubectl() -> str:
    path = shutil.which("kubectl")
    if path is None:
        pytest.skip("needs kubectl, which is not installed")
    major, minor = kubectl_version(path)
    if (major, minor) < OLDEST_KUBECTL:
        pytest.skip(f"needs kubectl 1.27 or newer; {path} is {major}.{minor}, whose kustomize is from before version 5")
    return path


@functools.cache
def kubectl_version(path: str) -> tuple[int, int]:
    done = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
    client = json.loads(done.stdout)["clientVersion"]
    return int(client["major"]), int(re.sub(r"\D", "", client["minor"]))
