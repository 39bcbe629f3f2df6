"""Programs that build images. They differ in little: a table, and how a command runs in a finished image."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of


@dataclass(frozen=True)
class Builder:
    """A builder with Docker's command line."""

    name: str
    build_options: tuple[str, ...] = ()

    def answers(self) -> bool:
        """Whether it is installed, and its daemon, if it needs one, runs."""
        return shutil.which(self.name) is not None and self._quiet("info").returncode == 0

    def build(self, context: Path, image: str, arguments: dict[str, str]) -> None:
        """Builds `context/Containerfile`; its output goes where ours goes.

        Raises:
            QuantbentoError: it failed.
        """
        options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        file = str(context / "Containerfile")
        self._run(["build", *self.build_options, *options, "--tag", image, "--file", file, str(context)])

    def has(self, image: str) -> bool:
        """Whether the image is here, without asking a registry."""
        return self._quiet("image", "inspect", image).returncode == 0

    def pull(self, image: str) -> bool:
        """Whether the image is here or could be fetched."""
        return self.has(image) or self._quiet("pull", image).returncode == 0

    def output(self, image: str, script: str) -> str:
        """What a shell script prints in a new container of the image, run as root without a network."""
        run = ["run", "--rm", "--user", "0", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", script]
        return self._checked(*run)

    def user(self, image: str) -> str:
        """The user that the image's processes run as; empty for root."""
        return self._checked("image", "inspect", "--format", "{{.Config.User}}", image).strip()

    def _run(self, arguments: list[str]) -> None:
        if subprocess.run([self.name, *arguments]).returncode:
            raise QuantbentoError(f"{self.name} {arguments[0]} failed; what it said is above")

    def _quiet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.name, *arguments], capture_output=True, text=True)

    def _checked(self, *arguments: str) -> str:
        done = self._quiet(*arguments)
        if done.returncode:
            raise QuantbentoError(f"{self.name} {' '.join(arguments[:3])} failed: {done.stderr.strip()}")
        return done.stdout


class Buildah(Builder):
    """Needs no daemon. As root without user namespaces: BUILDAH_ISOLATION=chroot."""

    def has(self, image: str) -> bool:
        return self._quiet("inspect", "--type", "image", image).returncode == 0

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[str]:
        """The name of a new container of the image, which is removed in the end."""
        name = self._checked("from", "--pull-never", image).strip()
        try:
            yield name
        finally:
            self._quiet("rm", name)

    def output(self, image: str, script: str) -> str:
        with self.container(image) as container:
            return self._checked("run", "--user", "0", container, "--", "/bin/sh", "-c", script)

    def user(self, image: str) -> str:
        return self._checked("inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}}", image).strip()


DOCKER_FORMAT = ("--format", "docker")  # OCI's own, which these two write by default, has no health check
BUILDERS = {
    builder.name: builder
    for builder in (
        Builder("docker"),
        Builder("podman", DOCKER_FORMAT),
        Builder("nerdctl"),
        Buildah("buildah", DOCKER_FORMAT),
    )
}


def find(name: str | None = None) -> Builder:
    """The builder of that name, or the first that answers; `BENTOML_CONTAINERIZE_BACKEND` chooses as it does for
    BentoML.

    Raises:
        QuantbentoError: it is not installed, or its daemon does not run; or that is so of all.
    """
    name = name or os.environ.get("BENTOML_CONTAINERIZE_BACKEND") or None
    if name is not None and name not in BUILDERS:
        raise QuantbentoError(f"unknown builder {name!r}{did_you_mean(name, BUILDERS)} (allowed: {one_of(BUILDERS)})")
    found = next((builder for builder in BUILDERS.values() if name in (None, builder.name) and builder.answers()), None)
    if found is None:
        raise QuantbentoError(
            f"{f'the builder {name!r} is not installed' if name else 'no image builder is installed'}, or its daemon "
            f"does not run (known: {', '.join(BUILDERS)}). Without a daemon, on Debian: apt-get install buildah"
        )
    return found
