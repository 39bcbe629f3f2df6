"""Runs the worker, and makes a checkpoint of what it wrote."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantbento.core import isolated, machine
from quantbento.inputs.job import Job
from quantbento.quantizers.llm.streaming import checkpoint
from quantbento.quantizers.llm.streaming.parts import SMALL
from quantbento.quantizers.llm.workers import STREAMING

STATES = "streaming"  # a folder in the cache


def quantize(
    job: Job, method: str, schemes: dict[str, str], group_size: int, kept: list[str], folder: Path
) -> dict[str, Any]:
    """Writes a checkpoint into `folder`. Shards that an interrupted run finished are used, where the job keeps the
    stages of a run.

    Args:
        method: what progress is shown under.
        schemes: by the name of the linear layer.
        group_size: inputs per scale, for schemes with groups; -1 for one scale per row.
        kept: linear layers that stay in full precision, which the configuration has to name.

    Returns:
        the worker's result.
    """
    source = job.source.folder
    assert source is not None and job.source.dtype is not None
    what = {"method": method, "schemes": schemes, "group_size": group_size}
    with _state(job, what, folder) as (state, key):
        work = {
            "model": str(source),
            "state": str(state),
            "key": key,
            "schemes": schemes,
            "group_size": group_size,
            "small": SMALL,
            "threads": machine.default_threads(),
        }
        with job.progress.stage(method) as advance:
            told = isolated.run(Path(sys.executable), STREAMING, work, lambda stage, done, total: advance(done, total))
        if told["reused"]:
            job.progress.say(f"{method}: {told['reused']} of {len(told['shards'])} shards were finished before")
        checkpoint.assemble(source, state, told["shards"], told["places"], folder)
    quantization = checkpoint.quantization_config(schemes, group_size, kept)
    checkpoint.configure(folder, job.source.dtype, quantization)
    return told


@contextlib.contextmanager
def _state(job: Job, what: dict[str, Any], folder: Path) -> Iterator[tuple[Path, str]]:
    """The folder of finished shards, and what they are made from. It is removed when the checkpoint is complete; after
    an error it stays for the next run, where the job keeps the stages of a run."""
    from filelock import FileLock

    key = job.cache.key(STATES, what)
    if job.cache.folder is None:
        with tempfile.TemporaryDirectory(prefix="shards-", dir=folder.parent) as temporary:
            yield Path(temporary), key
        return
    state = job.cache.folder.with_name(STATES) / key
    state.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(state.with_suffix(".lock")):
        if job.cache.anew:
            shutil.rmtree(state, ignore_errors=True)
        yield state, key
        shutil.rmtree(state)
