"""`quantbento serve`: which service serves a stored model, what is wrong before it starts, and the command."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.serving.choice import only_model, task_of
from quantbento.serving.served import check_packages
from quantbento.serving.services import service_for
from quantbento.store.aliases import failed_gates


@dataclass(frozen=True)
class ServeCommand:
    """`bentoml serve` for one stored model.

    Attributes:
        tag: the exact tag of the model.
        task, runtime: what it is for, and what runs it.
        arguments: the command, by the name that a shell has for it.
        environment: of the process.
        failed_gates: those that the model missed, where it was stored all the same.
        chosen: why it is this model, where the best of a recipe was asked for.
    """

    tag: str
    task: str
    runtime: str
    arguments: list[str]
    environment: dict[str, str]
    failed_gates: list[str]
    chosen: str = ""

    def run(self) -> None:
        """Becomes that process."""
        os.execve(sys.executable, [sys.executable, "-m", *self.arguments], self.environment)


def serve_command(tag: str | None, given: Mapping[str, str], host: str, port: int) -> ServeCommand:
    """
    Args:
        tag: of the model; by default the only stored one.
        given: settings of its service by name, as text.
        host, port: where it listens.

    Raises:
        QuantbentoError: there is no such model or no service for it; or it lists all else that is wrong: a setting, a
            package that is not installed, a port that is taken.
    """
    tag = tag or only_model()
    stored = store.find(tag)
    task = task_of(stored)
    described = artifact.describe(stored.path)
    service = service_for(task)
    # The working directory is the service's; files are named from this one.
    files = service.settings.names_of_files()
    given = {name: str(Path(value).absolute()) if name in files else value for name, value in given.items()}
    if keys := given.get("trusted_keys"):
        given["trusted_keys"] = ",".join(str(Path(path.strip()).absolute()) for path in keys.split(",") if path.strip())
    problems = []
    settings = service.settings.of({"model": stored.tag, **given})
    if settings.problem:
        problems += settings.problem.splitlines()
    try:
        check_packages(described)
    except QuantbentoError as error:
        problems.append(str(error))
    if problem := port_problem(host, port):
        problems.append(problem)
    if problems:
        raise QuantbentoError("\n".join([f"{stored.tag} cannot be served:", *(f"  - {p}" for p in problems)]))
    arguments = ["bentoml", "serve", service.target]
    if service.folder != Path.cwd():
        arguments += ["--working-dir", str(service.folder)]
    arguments += ["--host", host, "--port", str(port)]
    # Pinned to the version that was checked, unless the service is to follow what the tag stands for.
    model = tag if getattr(settings, "follow", False) else stored.tag
    for name, value in {"model": model, **given}.items():
        arguments += ["--arg", f"{name}={value}"]
    # The working directory is the service's. Code of the user's that the model needs is here.
    paths = [str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    failed = failed_gates(stored)
    return ServeCommand(stored.tag, task, described["runtime"], arguments, environment, failed, stored.chosen)


def port_problem(host: str, port: int) -> str | None:
    """Why a server cannot listen there."""
    if not 0 < port < 65536:
        return f"port {port}: allowed are 1 to 65535"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        other = f"; choose another, for example --port {free_port()}" if error.errno == errno.EADDRINUSE else ""
        return f"port {port} of {host}: {reason}{other}"
    return None


def free_port() -> int:
    """Of 127.0.0.1."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]
