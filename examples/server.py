"""A server process for demos, benchmarks and tests: started on a free port of 127.0.0.1, waited for, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass
class Server:
    """One that is ready."""

    url: str
    process: subprocess.Popen

    def cpu_seconds(self) -> float:
        """CPU time so far of the process and its children, user and system."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            times = [p.cpu_times() for p in [root, *root.children(recursive=True)]]
            return sum(t.user + t.system for t in times)
        return 0.0

    def metrics(self) -> str:
        """What Prometheus would get."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            return response.read().decode()


@contextlib.contextmanager
def serve(
    command: list[str], environment: dict[str, str], log: Path, ready_seconds: float = 90, probe: str = "/readyz"
) -> Iterator[Server]:
    """Runs `command` with `{port}` filled in, until the block ends; `probe` answers 200 when it is ready.

    Raises:
        RuntimeError: it ended or was not ready in time; the log's last lines are in the message.
    """
    port = free_port()
    filled = [part.format(port=port) for part in command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            filled, env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    server, started = Server(f"http://127.0.0.1:{port}", process), []
    try:
        _wait(server, log, ready_seconds, probe)
        yield server
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # A program that runs a container ends before what runs in it.
        for left in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.terminate()
        psutil.wait_procs(started, 20)


def bento(service: str = "service:Embedding") -> list[str]:
    """The command that serves `module:Service`, or a Bento by its tag."""
    return [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", "{port}"]


def free_port() -> int:
    """Of 127.0.0.1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _wait(server: Server, log: Path, seconds: float, probe: str) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"{server.url}{probe}", timeout=2),
        ):
            return
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise RuntimeError(f"the server was not ready within {seconds:.0f} s:\n{tail}")
