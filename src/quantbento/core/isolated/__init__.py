"""Runs a worker script in an isolated Python environment, for packages whose pins conflict with this environment.

1. `environment` creates it with uv on first use, and returns its interpreter.
2. `run` starts the worker in it. A worker must not import quantbento, which is missing there. It gets the path of a
   JSON file with its job, and writes JSON to stdout, one object per line (worker.py does it):

    {"stage": "gptq", "done": 1, "total": 32}    any number of times
    {"result": {...}} or {"error": "..."}         once, at the end

Other lines are ignored. When its stdin ends, its parent is gone, and it ends too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quantbento.core.cache import cache_folder
from quantbento.core.errors import QuantbentoError

COMPLETE = "quantbento.json"  # written when everything is installed; says what the environment holds


def environment(requirements: Sequence[str], say: Callable[[str], None]) -> Path:
    """The interpreter of an environment that holds `requirements`. The environment is created if it does not exist.

    It lies in `<cache>/environments/<hash of the requirements and of this Python's version>`. The cache is
    `QUANTBENTO_CACHE`, or `.cache` in the current folder. The environment is made in a staging folder and moved when
    complete, so that an installation that goes on after its parent was killed cannot write into the next one. (Moving
    is safe: only the interpreter is used, and uv's relocatable scripts do not contain their own path.)

    Args:
        requirements: as in a requirements file; paths must be absolute.
        say: is called with one line when the installation begins, and with more as it goes on.

    Raises:
        QuantbentoError: uv is missing or cannot install them, or the cache cannot be written.
    """
    content, final = _place(requirements)
    root = final.parent
    with _reported(requirements, root):
        if not _complete(final):
            root.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(root, say):
                if not _complete(final):  # the run that was waited for may have made it
                    for left in [final, *root.glob("staging-*")]:
                        shutil.rmtree(left, ignore_errors=True)
                    _make(final, content, say)
    return _python(final)


def is_made(requirements: Sequence[str]) -> bool:
    """Whether `environment` would find it complete. Makes nothing."""
    return _complete(_place(requirements)[1])


def made_on_first_use(requirements: Sequence[str]) -> str | None:
    """What a quantizer says that needs such an environment, named by its first requirement; None once it is made."""
    if is_made(requirements):
        return None
    return f"an environment of its own with {requirements[0]} is made on first use (needs the network)"


def run(
    python: Path, script: Path, job: dict[str, Any], on_progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """The result of a worker. The worker and every process of its group end before this returns or raises.

    Args:
        python: the interpreter, which sees its own packages only.
        script: the worker.
        job: what it works from; JSON.
        on_progress: is called with (stage, done, total).

    Raises:
        QuantbentoError: the worker's own error, or how it ended without a result.
    """
    with tempfile.TemporaryDirectory(prefix="quantbento-job-") as folder:
        job_file, log = Path(folder, "job.json"), Path(folder, "stderr.log")
        job_file.write_text(json.dumps(job), encoding="utf-8")
        with log.open("wb") as stderr, _child([python, "-I", script, job_file], stderr) as worker:
            for message in _messages(worker.stdout or ()):
                match message:
                    case {"result": dict(result)}:
                        return result
                    case {"error": str(error)}:
                        raise QuantbentoError(f"{script.stem}: {error}")
                    case {"stage": str(stage), "done": int(done), "total": int(total)}:
                        on_progress(stage, done, total)
            ended = _how_it_ended(worker.wait())
        last = _last_line(log.read_text(encoding="utf-8", errors="replace").splitlines())
    raise QuantbentoError(f"{script.stem}: {ended} without a result. Its last line: {last}")


def _place(requirements: Sequence[str]) -> tuple[dict[str, Any], Path]:
    """What identifies an environment, and its folder."""
    content = {"python": platform.python_version(), "requirements": sorted(requirements)}
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return content, cache_folder("environments") / name


def _make(final: Path, content: dict[str, Any], say: Callable[[str], None]) -> None:
    """Installs into a staging folder and moves it. Whatever goes wrong, nothing is left behind."""
    uv, requirements = _uv(), content["requirements"]
    staging = final.parent / f"staging-{uuid.uuid4().hex}"
    say(f"installing {', '.join(requirements)} into an environment of its own (once)")
    try:
        _run_uv([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, staging], requirements, say)
        if requirements:
            _run_uv([uv, "pip", "install", "--python", _python(staging), *requirements], requirements, say)
        (staging / COMPLETE).write_text(json.dumps(content, indent=2), encoding="utf-8")
        staging.rename(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_uv(command: Sequence[str | Path], requirements: Sequence[str], say: Callable[[str], None]) -> None:
    output: deque[str] = deque(maxlen=200)
    # Started outside any project: uv would apply the overrides of the project it is started in.
    outside = Path(sys.prefix).anchor
    with _child(command, subprocess.STDOUT, outside, UV_FIND_LINKS=_find_links()) as uv:
        for line in uv.stdout or ():
            output.append(line)
            if line.startswith(("Downloading ", "Installed ")):
                say(line.strip())
        failed = uv.wait() != 0
    if failed:
        raise _cannot_install(requirements, _uv_error(list(output)))


def _uv_error(output: list[str]) -> str:
    """uv's error and its causes in one line, without hints."""
    lines = [line.strip() for line in output]
    start = max((i for i, line in enumerate(lines) if line.startswith("error: ")), default=None)
    if start is None:
        return _last_line(lines)
    told = lines[start : lines.index("", start) if "" in lines[start:] else None]
    return " ".join(told).removeprefix("error: ").replace(" cause: ", ": ")


def _cannot_install(requirements: Iterable[str], reason: str) -> QuantbentoError:
    return QuantbentoError(
        f"cannot install {', '.join(requirements)} into an environment of its own: {reason.rstrip('.')}. Check the "
        "network and run again; without one, name a folder of wheels in UV_FIND_LINKS"
    )


def _find_links() -> str:
    """Folders of wheels: from uv's setting (separated by commas), or else from pip's (separated by spaces)."""
    own = os.environ.get("UV_FIND_LINKS")
    links = own.split(",") if own else os.environ.get("PIP_FIND_LINKS", "").split()
    return ",".join(link if "://" in link else str(Path(link).absolute()) for link in links)


def _uv() -> str:
    """The path of uv: from the `uv` package, or else the one on PATH."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        if found := shutil.which("uv"):
            return found
        raise QuantbentoError("making an environment needs uv, which is not installed; run: pip install uv") from None


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _complete(folder: Path) -> bool:
    """Whether the environment can be used. It cannot if the Python it was made with is gone: its interpreter is a
    link to that one."""
    return (folder / COMPLETE).is_file() and _python(folder).exists()


@contextlib.contextmanager
def _one_at_a_time(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the one lock for making environments. Staging folders found while it is held were left by dead runs."""
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for another run that is installing an environment")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _reported(requirements: Iterable[str], root: Path) -> Iterator[None]:
    """Turns an `OSError`, such as a full or read-only disk, into an error that says so."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise QuantbentoError(
            f"cannot make an environment for {', '.join(requirements)}: {reason} ({error.filename or root}). "
            "QUANTBENTO_CACHE names another place"
        ) from error


@contextlib.contextmanager
def _child(
    command: Sequence[str | Path], stderr: Any, folder: str | None = None, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed with its whole group when the block is left, in whatever way.

    It gets our environment variables without those that lead to our packages. Its stdin stays open as long as this
    process lives, so a worker notices when its parent was killed.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=kept | variables,
        cwd=folder,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _messages(lines: Iterable[str]) -> Iterator[Any]:
    """The lines that are JSON; libraries print other lines too."""
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    hint = " (often: out of memory)" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{hint}"


def _last_line(lines: Iterable[str]) -> str:
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), "nothing")
