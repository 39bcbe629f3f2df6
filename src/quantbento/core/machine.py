"""What this machine is: its cores, memory and CPU, and the packages that are installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2: "<quota> <period>", or "max <period>"
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
DRM = Path("/sys/class/drm")  # Linux's list of GPUs
INTEL = "0x8086"
CFS = Path("/sys/fs/cgroup/cpu")  # v1
CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
)


def default_threads() -> int:
    """The cores this process may run on, but no more than its control group's quota, rounded up. More threads would
    only wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def describe(threads: int, distributions: Iterable[str], device: str = "cpu") -> dict[str, Any]:
    """`environment` of report.json: a measurement says little without it. The versions of `distributions` are listed
    for those that are installed; `device` is what the models ran on."""
    model, flags = _cpu()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(distributions),
        "cpu": model,
        "cpu_flags": [f for f in CPU_FLAGS if f in flags],
        "threads": threads,
        "device": device,
        "gpu": None if device == "cpu" else ", ".join(gpus()) or None,
    }


def saturates(cpu_flags: Iterable[str] | None = None) -> bool:
    """Whether 8-bit products overflow 16 bits and are cut off. They are on x86 without VNNI, where the same INT8 model
    gives different answers (microsoft/onnxruntime#14642). Uses this machine's flags by default."""
    flags = set(_cpu()[1] if cpu_flags is None else cpu_flags)
    return "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni", "amx_int8"}


def cpu_flags() -> set[str]:
    """What this CPU can do, as Linux names it (`amx_tile`); empty where the system does not say."""
    return _cpu()[1]


def other_cpu(judged_on: dict[str, Any], runtime: str) -> str | None:
    """A warning if the model was judged on a CPU whose INT8 arithmetic differs from this one's, else None."""
    if runtime != "onnx" or saturates(judged_on.get("cpu_flags", ())) or not saturates():
        return None
    return (
        f"it was judged on a CPU with VNNI ({judged_on.get('cpu')}) and answers differently on this one ({_cpu()[0]}); "
        "make it here, with reduce_range: true"
    )


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the named distributions that are installed, read without importing them."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def missing_packages(names: Iterable[str]) -> list[str]:
    """The import names among `names` that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def packages_distributions() -> Mapping[str, list[str]]:
    """The installed distributions that bring each importable package. Finding them reads a file of each distribution,
    which takes a third of a second; they are found once for each search path."""
    return _packages_distributions(tuple(sys.path))


@cache
def _packages_distributions(search_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def devices() -> set[str]:
    """The devices this machine can compute on, as PyTorch calls them, found without importing an engine."""
    found = {"cpu"}
    if NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi") is not None:
        found.add("cuda")
    if any(_text(file) == INTEL for file in DRM.glob("renderD*/device/vendor")):
        found.add("xpu")
    return found


def gpus() -> list[str]:
    """The NVIDIA GPUs with their memory, as `nvidia-smi` lists them; empty where it is missing or fails."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def memory_bytes() -> int | None:
    """The machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def peak_memory_bytes() -> int:
    """The peak of this process's resident memory. On Linux, ru_maxrss starts at the peak of the process that started
    this one; VmHWM does not."""
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return int(found.group(1)) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _quota() -> float:
    """The control group's limit in cores; infinite where there is none."""
    try:
        if CPU_MAX.is_file():
            quota, period = CPU_MAX.read_text().split()
        else:
            quota, period = ((CFS / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return float(quota) / float(period) if quota not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # no control groups here
        return math.inf


def _cpu() -> tuple[str, set[str]]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine(), set()
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name") or platform.machine(), set(flags.split())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
