"""Runs a recipe again and again in forked processes, each killed with SIGKILL after one of its stages, and tells what
each run did. A process of its own, because a fork needs a process without threads.

Arguments: the recipe as JSON, a folder. Prints a line of JSON: `whole`, the stages of a run that nobody stopped, and
`killed`, a list of [the stage after which a run was killed, the stages it had done, those of the run that followed].
Reports are in `whole` and `after-<number>`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil

from quantbento.core.progress import Silent
from tests.conftest import model_store


class Killing(Silent):
    """Notes in a file what was done, and ends the process when the stage after the one of this number starts."""

    def __init__(self, log: Path, after: int | None) -> None:
        self.log, self.after, self.done = log, after, 0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator:
        if self.after == self.done:
            os.kill(os.getpid(), signal.SIGKILL)
        yield lambda done, total: None
        self.done += 1
        with self.log.open("a") as file:
            file.write(f"{name}\n")


def run(recipe: dict, home: Path, output: Path, after: int | None) -> tuple[list[str], int]:
    """The stages that a forked run did, and its exit status."""
    log = output.parent / f"{output.name}.log"
    log.write_text("")
    child = os.fork()
    if child == 0:
        code = 70
        try:
            from quantbento.making import pipeline

            os.environ["QUANTBENTO_CACHE"] = str(home / "cache")
            with model_store(home / "bentoml"):
                report = pipeline.save(recipe, output=output, progress=Killing(log, after))
            code = report.exit_code
            modules_file(output).write_text(json.dumps(sorted(sys.modules)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return log.read_text().splitlines(), -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def modules_file(output: Path) -> Path:
    """What a run had imported at its end."""
    return output.parent / f"{output.name}.modules"


def import_all(names: list[str]) -> None:
    """Here, so that no fork has to. Starts no thread: a fork would lack it."""
    threads = psutil.Process().num_threads()
    for name in names:
        with contextlib.suppress(ImportError):  # of modules that are no files
            importlib.import_module(name)
    assert psutil.Process().num_threads() == threads


def main() -> None:
    import bentoml  # noqa: F401  # imported once, before any fork
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    from quantbento.making import cache, pipeline

    pipeline.write_page = lambda report, progress: None  # of the report, after which nothing is left to resume

    os.environ["QUANTBENTO_CACHE_GB"] = "1"  # tests have it off
    cache._own_source()  # once: the source may be edited while this runs
    cache._installed()
    recipe, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    whole, status = run(recipe, folder / "home-whole", folder / "whole", None)
    assert status == 1, f"one variant fails its gate, not {status}"
    import_all(json.loads(modules_file(folder / "whole").read_text()))
    killed = []
    for number, stage in enumerate(whole[:-1], 1):
        home = folder / f"home-{number}"
        before, status = run(recipe, home, folder / f"before-{number}", number)
        assert status == -signal.SIGKILL, f"{stage}: {status}"
        after, status = run(recipe, home, folder / f"after-{number}", None)
        assert status == 1, f"after {stage}: {status}"
        killed.append([stage, before, after])
        shutil.rmtree(home)
    print(json.dumps({"whole": whole, "killed": killed}))


if __name__ == "__main__":
    main()
