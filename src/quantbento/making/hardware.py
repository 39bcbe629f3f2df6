"""What this machine is to quantized models: its cores, memory, GPUs and disks, and what its instruction sets mean."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quantbento.core import machine
from quantbento.store.atomic import models_path


@dataclass(frozen=True)
class Disk:
    """A place that runs write to, and the bytes that are free there."""

    path: Path
    purpose: str
    free_bytes: int


@dataclass(frozen=True)
class Hardware:
    """`memory_bytes` is None where the system does not say. `gpus` are names with their memory."""

    cpu: str
    cpu_flags: list[str]
    cores: int
    memory_bytes: int | None
    gpus: list[str]

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / 1e9:.0f} GB of memory" if self.memory_bytes else "memory unknown"
        cores = f"{self.cores} core" + "s" * (self.cores != 1)
        return f"{self.cpu}, {cores}, {memory}, {', '.join(self.gpus) or 'no GPU'}"


def look() -> Hardware:
    """This machine, found without importing an engine."""
    told = machine.describe(machine.default_threads(), ())
    gpus = machine.gpus() if "cuda" in machine.devices() else []
    return Hardware(told["cpu"], told["cpu_flags"], told["threads"], machine.memory_bytes(), gpus)


def disks() -> list[Disk]:
    """Where runs write: the temporary folder, and the model store."""
    places = {"TMPDIR, where variants are made": Path(tempfile.gettempdir()), "BENTOML_HOME, the store": models_path()}
    return [Disk(path, purpose, shutil.disk_usage(nearest(path)).free) for purpose, path in places.items()]


def nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there: a look makes none."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def int8(flags: Iterable[str]) -> str:
    """What a CPU's flags mean for INT8 products, in one sentence."""
    have = set(flags)
    if "amx_int8" in have:
        return "AMX (amx_int8): INT8 is fast and exact"
    if have & {"avx512_vnni", "avx_vnni"}:
        return "VNNI: INT8 is fast and exact"
    if machine.saturates(have):
        return "AVX2 without VNNI: products of 8-bit numbers saturate and change answers; set reduce_range: true"
    if have & {"i8mm", "asimddp"}:
        return "dot products (asimddp, i8mm): INT8 is fast and exact"
    return "no INT8 instructions that are known here: expect models to be smaller, not faster"


def bf16(flags: Iterable[str]) -> str:
    """What a CPU's flags mean for bfloat16, in one sentence."""
    known = {"avx512_bf16", "amx_bf16", "bf16"}
    if found := sorted(known & set(flags)):
        return f"{found[0]}: bfloat16 is about twice as fast as float32"
    return "no bfloat16 instructions: bfloat16 is slower than float32"
