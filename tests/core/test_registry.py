"""What a recipe can name exists, can be imported, and has the same name as in the registry."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.base import Quantizer
from quantbento.runtimes.base import Runtime
from quantbento.tasks.base import Task
from tests.conftest import ROOT

KINDS = {
    "task": (registry.TASKS, registry.task, Task),
    "quantizer": (registry.QUANTIZERS, registry.quantizer, Quantizer),
    "runtime": (registry.RUNTIMES, registry.runtime, Runtime),
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
ENTRIES = [(kind, name) for kind, (table, _, _) in KINDS.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), ENTRIES, ids=[f"{kind}-{name}" for kind, name in ENTRIES])
def test_an_entry_is_a_class_of_its_kind_under_its_own_name(kind, name):
    _, find, base = KINDS[kind]
    assert issubclass(find(name), base)
    assert find(name).name == name


@pytest.mark.parametrize("name", registry.QUANTIZERS)
def test_a_quantizer_declares_what_the_plan_needs(name):
    quantizer = registry.quantizer(name)
    assert set(quantizer.runtimes) <= registry.RUNTIMES.keys()
    assert quantizer.extra in EXTRAS
    assert quantizer.scheme and quantizer.modules
    assert quantizer.starts_from and quantizer.data in (None, "calibration", "training")
    assert quantizer.Options.model_config["extra"] == "forbid"
    quantizer.Options()  # every option has a default


@pytest.mark.parametrize("name", registry.RUNTIMES)
def test_a_runtimes_packages_are_an_extra_of_this_project(name):
    runtime = registry.runtime(name)
    assert runtime.extra == {"vllm-pooling": "vllm"}.get(name, name) and runtime.extra in EXTRAS
    assert runtime.modules and runtime.distributions and runtime.devices


@pytest.mark.parametrize("name", registry.TASKS)
def test_what_a_task_needs_beside_its_runtime_is_an_extra_of_this_project(name):
    task = registry.task(name)
    assert task.extra in EXTRAS if task.modules else task.extra is None


@pytest.mark.parametrize("name", registry.QUANTIZERS)
def test_a_quantizer_goes_with_some_task(name):
    assert any(registry.runtime_of(registry.quantizer(name), registry.task(task)) for task in registry.TASKS)


@pytest.mark.parametrize(
    ("quantizer", "task", "runtime"),
    [
        ("torch-dynamic", "tensor", "torch"),
        ("torch-dynamic", "text-generation", "transformers"),
        ("rtn", "text-generation", "vllm"),
        ("rtn", "feature-extraction", None),
        ("onnx-dynamic", "text-generation", None),
    ],
)
def test_the_runtime_follows_from_quantizer_and_task(quantizer, task, runtime):
    found = registry.runtime_of(registry.quantizer(quantizer), registry.task(task))
    assert (found and found.name) == runtime


@pytest.mark.parametrize("name", registry.TASKS)
def test_a_tasks_primary_metrics_are_metrics_of_its_own(name):
    task = registry.task(name)
    assert task.primary and set(task.primary) <= set(task.metrics)
    assert {metric.better for metric in task.metrics.values()} <= {+1, -1}


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_says_what_is_allowed(kind):
    table, find, _ = KINDS[kind]
    near = next(iter(table))
    with pytest.raises(QuantbentoError, match=rf"unknown {kind} '{near}x'; did you mean '{near}'\?") as caught:
        find(near + "x")
    assert all(repr(name) in str(caught.value) for name in table)


def test_naming_tasks_quantizers_and_runtimes_loads_no_engine():
    code = """
import sys
from quantbento.core import registry
for name in registry.TASKS: registry.task(name)
for name in registry.QUANTIZERS: registry.quantizer(name)
for name in registry.RUNTIMES: registry.runtime(name)
print([m for m in ("torch", "transformers", "onnx", "onnxruntime", "bentoml") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
