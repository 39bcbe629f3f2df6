"""Isolated environments, made from local packages only, and the workers that run in them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError

SECONDS = 60  # most time a process may take for what the test waits for


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The folder of environments in an empty cache; the network is off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTBENTO_CACHE", "cache")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "nothing wheels")
    Path("nothing").mkdir()
    write_wheel(Path("wheels"), "empty")
    return tmp_path / "cache" / "environments"


def write_wheel(folder: Path, name: str) -> Path:
    """A package with one empty module."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return file


class Pipe:
    """A named pipe. Reading returns b"" once every process that opened it for writing has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        ready, _, _ = select.select([self.reader], [], [], SECONDS)
        assert ready, f"nothing came through {self.path}"
        return os.read(self.reader, 100)


class SlowPackage:
    """A source distribution whose build signals that it has begun, then waits for permission to go on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.build = Pipe(folder / "build")
        go = folder / "go"
        os.mkfifo(go)
        self.go = os.open(go, os.O_RDWR)
        wheel = write_wheel(folder / "built", "slow")
        project = (
            '[project]\nname = "slow"\nversion = "1.0"\n[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        )
        backend = f"""
            import shutil
            def build_wheel(target, settings=None, metadata=None):
                build = open({str(self.build.path)!r}, "w")
                print("begun", file=build, flush=True)
                open({str(go)!r}).read(1)
                shutil.copy({str(wheel)!r}, target)
                return {wheel.name!r}
        """
        source = folder / "slow-1.0"
        source.mkdir()
        (source / "pyproject.toml").write_text(project + 'backend-path = ["."]\n')
        (source / "backend.py").write_text(textwrap.dedent(backend))
        archive = folder / "slow-1.0.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(source, source.name)
        self.requirement = f"slow @ {archive.as_uri()}"

    def wait_until_begun(self) -> None:
        assert self.build.read() == b"begun\n"

    def wait_until_ended(self) -> None:
        assert self.build.read() == b""

    def let_go_on(self) -> None:
        os.write(self.go, b"!")


@pytest.fixture
def slow(tmp_path) -> SlowPackage:
    return SlowPackage(tmp_path / "slow")


def can_import(python: Path, module: str) -> bool:
    return subprocess.run([python, "-I", "-c", f"import {module}"], capture_output=True).returncode == 0


def left(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {"lock"}


def test_environment_holds_what_was_required_and_nothing_of_ours(cache):
    said: list[str] = []
    python = isolated.environment(["empty==1.0"], said.append)
    assert can_import(python, "empty")
    assert not can_import(python, "filelock")
    assert said[0] == "installing empty==1.0 into an environment of its own (once)"
    assert python.is_relative_to(cache) and left(cache) == {python.parent.parent.name}


def test_environment_is_made_once():
    first = isolated.environment(["empty"], print)
    said: list[str] = []
    assert isolated.environment(["empty"], said.append) == first
    assert said == []


def test_marker_says_what_is_in_it():
    python = isolated.environment(["empty"], print)
    assert json.loads((python.parent.parent / "quantbento.json").read_text())["requirements"] == ["empty"]


def test_other_requirements_have_another_environment():
    assert isolated.environment(["empty"], print) != isolated.environment(["empty==1.0"], print)


@pytest.mark.parametrize("lost", ["quantbento.json", "bin/python"])
def test_incomplete_environment_is_made_anew(lost):
    python = isolated.environment(["empty"], print)
    (python.parent.parent / lost).unlink()
    (python.parent.parent / "old").touch()
    assert can_import(isolated.environment(["empty"], print), "empty")
    assert not (python.parent.parent / "old").exists()


def test_settings_of_the_project_in_the_current_folder_do_not_count():
    Path("pyproject.toml").write_text('[tool.uv]\noverride-dependencies = ["empty==9"]\n')
    assert can_import(isolated.environment(["empty"], print), "empty")


def test_uv_has_its_own_folder_of_wheels(tmp_path, monkeypatch):
    write_wheel(tmp_path / "others", "other")
    monkeypatch.setenv("UV_FIND_LINKS", "nothing,others")
    assert can_import(isolated.environment(["other"], print), "other")


def test_what_cannot_be_installed_is_one_line_and_leaves_nothing(cache):
    with pytest.raises(QuantbentoError) as error:
        isolated.environment(["unknown==2.0"], print)
    message = str(error.value)
    assert message.startswith("cannot install unknown==2.0 into an environment of its own: No solution found")
    assert "you require unknown==2.0" in message
    assert "hint" not in message and "\n" not in message
    assert left(cache) == set()


def test_cache_that_cannot_be_written_is_reported(monkeypatch):
    Path("file").touch()
    monkeypatch.setenv("QUANTBENTO_CACHE", "file")
    with pytest.raises(QuantbentoError, match=r"for empty: Not a directory .*QUANTBENTO_CACHE"):
        isolated.environment(["empty"], print)


def test_without_uv_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(QuantbentoError, match="pip install uv"):
        isolated.environment(["empty"], print)


def test_interrupted_installation_ends_and_leaves_nothing(cache, slow):
    ended = threading.Event()

    def interrupt() -> None:
        slow.wait_until_begun()
        os.kill(os.getpid(), signal.SIGINT)
        slow.wait_until_ended()
        ended.set()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        isolated.environment([slow.requirement], print)
    assert ended.wait(SECONDS)
    assert left(cache) == set()


def test_next_run_cleans_up_after_a_killed_one(cache, slow):
    code = f"from quantbento.core import isolated; isolated.environment([{slow.requirement!r}], print)"
    run = subprocess.Popen([sys.executable, "-c", code])
    slow.wait_until_begun()
    run.kill()
    run.wait()
    assert [name.split("-")[0] for name in left(cache)] == ["staging"]
    python = isolated.environment(["empty"], print)
    assert left(cache) == {python.parent.parent.name}
    slow.let_go_on()  # uv no longer had a parent
    slow.wait_until_ended()
    assert can_import(python, "empty")


def test_second_run_waits_for_the_first(slow):
    said: dict[int, list[str]] = {1: [], 2: []}
    pythons: dict[int, Path] = {}
    waits = threading.Event()

    def make(run: int) -> None:
        def say(line: str) -> None:
            said[run].append(line)
            if line.startswith("waiting"):
                waits.set()

        pythons[run] = isolated.environment([slow.requirement], say)

    threads = {run: threading.Thread(target=make, args=[run], daemon=True) for run in (1, 2)}
    threads[1].start()
    slow.wait_until_begun()
    threads[2].start()
    assert waits.wait(SECONDS)
    slow.let_go_on()
    for thread in threads.values():
        thread.join(SECONDS)
    assert pythons[1] == pythons[2] and can_import(pythons[1], "slow")
    assert len(said[2]) == 1


def test_lock_is_free_after_a_failure(cache):
    with pytest.raises(QuantbentoError):
        isolated.environment(["empty==2.0"], print)
    with FileLock(cache / "lock").acquire(timeout=0):
        pass


@pytest.fixture
def run(tmp_path) -> Callable[..., dict]:
    """Runs a worker's code in this Python, with the variable `job` set."""

    def run(code: str, on_progress: Callable[[str, int, int], None] = lambda *at: None, **job: object) -> dict:
        script = tmp_path / "worker.py"
        head = "import json, os, sys\njob = json.load(open(sys.argv[1]))\n"
        script.write_text(head + textwrap.dedent(code))
        return isolated.run(Path(sys.executable), script, job, on_progress)

    return run


def test_worker_gets_its_job_and_gives_progress_and_result(run):
    code = """
        print(json.dumps({"stage": "half", "done": 1, "total": 2}))
        print(json.dumps({"result": {"twice": job["number"] * 2}}))
    """
    seen: list[tuple] = []
    assert run(code, lambda *at: seen.append(at), number=21) == {"twice": 42}
    assert seen == [("half", 1, 2)]


def test_what_libraries_print_is_ignored(run):
    code = r"""
        os.write(1, b"100%|####|\r\n3\n[]\n{}\nnull\n{\"stage\": 1}\n{\"result\": 1}\n\xff\xfe{\n")
        os.write(2, b"x" * 1_000_000)
        print('{"result": {"answer": 42}}')
    """
    assert run(code) == {"answer": 42}


def test_worker_error_is_one_line_with_its_name(run):
    with pytest.raises(QuantbentoError, match=r"^worker: no such model$"):
        run("""print('{"error": "no such model"}')""")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "raise ValueError('too wide')",
            "ended with exit code 1 without a result. Its last line: ValueError: too wide",
        ),
        ("os.kill(os.getpid(), 9)", r"was ended by SIGKILL \(often: out of memory\) without .* last line: nothing"),
        ("", "ended with exit code 0 without a result"),
    ],
    ids=["exception", "killed", "silent"],
)
def test_worker_that_ends_without_a_result(run, code, message):
    with pytest.raises(QuantbentoError, match=message):
        run(code)


def test_worker_sees_nothing_of_ours(run, tmp_path, monkeypatch):
    (tmp_path / "leaked.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    code = """
        import importlib.util
        found = importlib.util.find_spec("leaked") is not None
        kept = [name for name in ("PYTHONPATH", "VIRTUAL_ENV") if name in os.environ]
        print(json.dumps({"result": {"found": found, "kept": kept}}))
    """
    assert run(code) == {"found": False, "kept": []}


def test_interrupted_run_ends_the_worker_and_its_children(run, tmp_path):
    alive = Pipe(tmp_path / "alive")
    code = """
        import subprocess
        alive = open(job["alive"], "w")
        wait = "import threading; threading.Event().wait()"
        subprocess.Popen([sys.executable, "-c", wait], pass_fds=[alive.fileno()])
        print(json.dumps({"stage": "begun", "done": 0, "total": 1}), flush=True)
        sys.stdin.read()
    """

    def interrupt(*at: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(code, interrupt, alive=str(alive.path))
    assert alive.read() == b""
