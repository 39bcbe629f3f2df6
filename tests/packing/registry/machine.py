"""A machine in the tests: BentoML with stores of its own, logged in to a registry or not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bentoml

from tests.conftest import ROOT, model_store
from tests.packing.registry.server import Registry


@dataclass(frozen=True)
class Machine:
    home: Path
    registry: Registry | None = None

    @property
    def environment(self) -> dict[str, str]:
        login = self.registry and {
            "BENTO_CLOUD_API_KEY": self.registry.token,
            "BENTO_CLOUD_API_ENDPOINT": self.registry.url,
        }
        return {"BENTOML_HOME": str(self.home), **(login or {})}

    def bentoml(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`bentoml ...` as users type it."""
        return subprocess.run(
            [sys.executable, "-m", "bentoml", *arguments],
            env={**_without_credentials(), **self.environment, **environment},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """BentoML in this process is this machine's."""
        from bentoml._internal.bento import BentoStore
        from bentoml._internal.cloud import BentoCloudClient
        from bentoml._internal.configuration.containers import BentoMLContainer

        with model_store(self.home):
            (self.home / "bentos").mkdir(exist_ok=True)
            BentoMLContainer.bento_store.set(BentoStore(self.home / "bentos"))
            if self.registry:
                BentoMLContainer.bentocloud_client.set(BentoCloudClient(self.registry.token, self.registry.url))
            try:
                yield
            finally:
                BentoMLContainer.bento_store.reset()
                BentoMLContainer.bentocloud_client.reset()

    def push_model(self, tag: str) -> None:
        with self.here():
            bentoml.models.push(tag)

    def pull_model(self, tag: str) -> None:
        with self.here():
            bentoml.models.pull(tag)

    def push_bento(self, tag: str) -> None:
        with self.here():
            bentoml.push(tag)

    def pull_bento(self, tag: str) -> None:
        with self.here():
            bentoml.pull(tag)

    def models(self) -> dict[str, str]:
        return contents(self.home / "models")

    def model(self, tag: str) -> dict[str, str]:
        return contents(self.home / "models" / tag.replace(":", "/"))

    def bento(self, tag: str) -> dict[str, str]:
        return contents(self.home / "bentos" / tag.replace(":", "/"))


def _without_credentials() -> dict[str, str]:
    """This environment; a test must not push to the account of whoever runs it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BENTO_CLOUD_")}


def contents(folder: Path) -> dict[str, str]:
    """sha256 by path, of every file in a folder; what quantbento thinks of them has no part in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def build_bento(home: Path, model: str, bentofile: Path) -> str:
    """The tag of a Bento of this project's service for `tensor` models."""
    environment = {"QUANTBENTO_MODEL": model, "PATH": ""}
    done = Machine(home).bentoml("build", "-f", str(bentofile), str(ROOT), "--output", "tag", **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().removeprefix("__tag__:")
