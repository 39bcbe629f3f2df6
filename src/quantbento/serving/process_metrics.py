"""What Prometheus is told of the serving processes: their memory and CPU time, the GPUs, and which model answers.

Read when `/metrics` is asked, and with a request at most once a second, because each of several workers knows only
itself. A worker without requests is read rarely, but its CPU time does not grow either.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from bentoml._internal.context import server_context

from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import memory_bytes
from quantbento.serving.metric import counter, gauge
from quantbento.serving.served import Served

EVERY = 1.0  # seconds
MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")  # cgroup v2
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class ProcessMetrics:
    """Of this process and those it started: vLLM's engine is one. Belongs to the process that serves."""

    def __init__(self, served: Served | None = None) -> None:
        """`served` is the model of `quantbento_model_info`."""
        worker = {"worker": str(server_context.worker_index or 1)}
        self._memory = gauge("process_resident_memory_bytes", "Memory of the serving processes", worker)
        self._cpu = counter("process_cpu_seconds", "CPU time of the serving processes, user and system", worker)
        limit = gauge("memory_limit_bytes", "Memory that the container, or the machine, allows", worker, "livemax")
        limit.set(memory_limit())
        self._served = served
        self._info: Any = None
        self._known: Any = None  # the stored model that it tells of
        self._processes: dict[int, psutil.Process] = {}
        self._used: dict[int, float] = {}  # CPU seconds by process
        self._next = 0.0

    def refresh_sometimes(self) -> None:
        """At most once a second."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + EVERY
            self._refresh_processes()

    def refresh(self) -> None:
        """All of it, for whoever asks for the metrics."""
        self._refresh_processes()
        self._refresh_gpus()
        self._refresh_model()
        _forget_the_dead()

    def _refresh_processes(self) -> None:
        memory, alive = 0, {os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)}
        for pid in alive:
            with contextlib.suppress(psutil.Error):
                process = self._processes[pid] = self._processes.get(pid) or psutil.Process(pid)
                memory += process.memory_info().rss
                times = process.cpu_times()
                seconds = times.user + times.system
                self._cpu.inc(max(0.0, seconds - self._used.get(pid, 0.0)))
                self._used[pid] = seconds
        for pid in self._used.keys() - alive:
            del self._used[pid]
            self._processes.pop(pid, None)
        self._memory.set(memory)

    def _refresh_gpus(self) -> None:
        nvml = _nvml()
        for index in range(nvml.nvmlDeviceGetCount() if nvml else 0):
            labels = {"gpu": str(index)}
            with contextlib.suppress(nvml.NVMLError):  # some are not known for a part of a GPU (MIG)
                device = nvml.nvmlDeviceGetHandleByIndex(index)
                used = nvml.nvmlDeviceGetMemoryInfo(device).used
                gauge("gpu_memory_bytes", "Memory in use on a GPU, by whatever process", labels, "livemax").set(used)
                busy = nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
                gauge("gpu_utilization_ratio", "Part of the time that a GPU was busy", labels, "livemax").set(busy)

    def _refresh_model(self) -> None:
        """1 once the model was loaded; 0 where its engine ended, or another version answers instead."""
        if self._served is None or not (self._info or self._served.ready):
            return
        if (stored := self._served.stored) is not self._known:
            with contextlib.suppress(QuantbentoError):
                info = self._served.info()
                labels = {name: str(info[name]) for name in ("model", "digest", "task", "runtime")}
                if self._info is not None:
                    self._info.set(0)
                self._info = gauge("model_info", "1 for the model that answers", labels, "livemax")
                self._known = stored
        if self._info is not None:
            self._info.set(int(self._served.ready))


def memory_limit() -> float:
    """Bytes that this process's control group allows, or the machine has; infinite where neither is said."""
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        return int(MEMORY_MAX.read_text())
    return memory_bytes() or math.inf


@cache
def _nvml() -> Any:
    """The bindings of NVIDIA's management library; None where they or a GPU are missing."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _forget_the_dead() -> None:
    """The gauges of workers that were killed would count for ever: Prometheus' client asks to be told."""
    folder = os.environ.get(DIRECTORY)
    if not folder:
        return
    from prometheus_client.multiprocess import mark_process_dead

    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            with contextlib.suppress(FileNotFoundError):  # another worker was faster
                mark_process_dead(int(pid))
