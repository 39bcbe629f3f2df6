"""A service in a process of its own, for as long as somebody measures it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from quantbento.core.errors import QuantbentoError
from quantbento.serving.command import free_port, serve_command

HOST = "127.0.0.1"
READY_SECONDS = 600  # a large model's weights are read, and its kernels compiled
END_SECONDS = 30


@dataclass
class Started:
    """A service that is ready; `load_seconds` is what it took to get there."""

    url: str
    load_seconds: float
    process: subprocess.Popen[bytes]

    def memory_bytes(self) -> int:
        """Peak resident memory, summed over its processes; what they have now, where the system keeps no peak."""
        return sum(map(_peak, _family(self.process.pid)))


@contextlib.contextmanager
def started(tag: str, settings: Mapping[str, str]) -> Iterator[Started]:
    """Serves a stored model at a free port of 127.0.0.1 until the block ends.

    Raises:
        QuantbentoError: it cannot be served, or ends before it is ready; with the log's last line.
    """
    port = free_port()
    command = serve_command(tag, settings, HOST, port)
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *command.arguments],
            env=command.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, f"http://{HOST}:{port}/readyz")
            yield Started(f"http://{HOST}:{port}", time.perf_counter() - start, process)
        except _NotReady:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise QuantbentoError(f"{command.tag} was not ready: {last[0]}. Try: quantbento serve {tag}") from None
        finally:
            _end(process)


class _NotReady(Exception):
    pass


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.2)
    raise _NotReady


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server, and what it started: an engine may outlive its parent."""
    family = _family(process.pid)
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, END_SECONDS)
    for left in alive:
        with contextlib.suppress(psutil.Error):
            left.kill()
    process.wait()


def _peak(process: psutil.Process) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        return 1024 * int(found.group(1)) if found else 0
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []
