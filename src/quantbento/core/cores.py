"""How many CPU cores this process may use. A container with a CPU limit sees all of its machine's."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2: "<quota> <period>", or "max <period>"
CFS = Path("/sys/fs/cgroup/cpu")  # v1


def default_threads() -> int:
    """Cores by the process' affinity, and not more than its control group's quota, rounded up: more threads would
    wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota() -> float:
    """Cores; infinite where there is no limit."""
    try:
        if CPU_MAX.is_file():
            quota, period = CPU_MAX.read_text().split()
        else:
            quota, period = ((CFS / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return float(quota) / float(period) if quota not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # no control groups here
        return math.inf
