"""What the serving processes use is told when it is asked for, and which model answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import prometheus_client
import psutil
import pytest

from quantbento.serving import process_metrics
from quantbento.serving.process_metrics import ProcessMetrics, memory_limit

REGISTRY = prometheus_client.REGISTRY
INFO = {"model": "demo:1", "digest": "abc", "task": "tensor", "runtime": "onnx", "scheme": None}


class Served:
    ready = False
    stored = "first"

    def info(self):
        return INFO | {"digest": self.stored}


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"quantbento_{name}", labels)


def test_memory_is_that_of_this_process_and_cpu_time_grows():
    metrics = ProcessMetrics()
    metrics.refresh()
    resident = psutil.Process().memory_info().rss
    assert value("process_resident_memory_bytes", worker="1") == pytest.approx(resident, rel=0.2)
    before = value("process_cpu_seconds_total", worker="1")
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    metrics.refresh()
    assert 0.05 < value("process_cpu_seconds_total", worker="1") - before < 1


def test_requests_read_it_at_most_once_a_second(monkeypatch):
    metrics, now, calls = ProcessMetrics(), [100.0], []
    monkeypatch.setattr(process_metrics.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(metrics, "_refresh_processes", lambda: calls.append(now[0]))
    for now[0] in (100.0, 100.5, 100.9, 101.1, 101.2):
        metrics.refresh_sometimes()
    assert calls == [100.0, 101.1]


def of_model(digest: str) -> float | None:
    return value("model_info", **{name: INFO[name] for name in ("model", "task", "runtime")}, digest=digest)


def test_the_model_is_told_once_it_is_loaded_and_is_0_once_its_engine_ended():
    served = Served()
    metrics = ProcessMetrics(served)
    metrics.refresh()
    assert of_model("first") is None
    for served.ready in (True, False):
        metrics.refresh()
        assert of_model("first") == served.ready


def test_another_version_that_answers_takes_its_place():
    served = Served()
    served.ready = True
    metrics = ProcessMetrics(served)
    metrics.refresh()
    served.stored = "second"
    metrics.refresh()
    assert (of_model("first"), of_model("second")) == (0, 1)


def test_gpus_are_told_where_there_are_some(monkeypatch):
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(used=1000 + device),
        nvmlDeviceGetUtilizationRates=lambda device: SimpleNamespace(gpu=25),
    )
    monkeypatch.setattr(process_metrics, "_nvml", lambda: nvml)
    ProcessMetrics().refresh()
    assert value("gpu_memory_bytes", gpu="1") == 1001
    assert value("gpu_utilization_ratio", gpu="0") == 0.25


def test_the_limit_is_the_control_groups_or_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(process_metrics, "MEMORY_MAX", tmp_path / "memory.max")
    machine = memory_limit()
    assert machine > 10**8
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit() == machine
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory_limit() == 1000


def test_gauges_of_a_process_that_was_killed_are_forgotten(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    own, killed = (tmp_path / f"gauge_livesum_{pid}.db" for pid in (os.getpid(), dead.pid))
    counter = tmp_path / f"counter_{dead.pid}.db"
    for file in (own, killed, counter):
        file.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    process_metrics._forget_the_dead()
    assert (own.exists(), killed.exists(), counter.exists()) == (True, False, True)
