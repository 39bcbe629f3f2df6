"""docs/extending.md, followed to the letter in an empty folder: a quantizer, a runtime and a task from outside go
through save and load, and the task is served. No file of the project is changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(my_\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))
ENTRY_POINTS = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1]
OWN_MODEL = """
import numpy as np
import torch
from torch import nn


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))


def samples():
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    with torch.no_grad():
        return {"input": x}, model()(torch.from_numpy(x))[:, 0].numpy()
"""
FAST = {"items": 4, "rounds": 3, "latency_calls": 10, "memory": True}
VARIANTS = {"int8": "my_quantizers:WeightOnlyInt8", "amd": "my_runtimes:OnnxDynamicOnAmd"}

pytestmark = pytest.mark.slow


def python(folder: Path, code: str, *, path: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BENTOML_HOME": str(folder / "bentoml"), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def recipe(task: str, variants: dict[str, str]) -> dict:
    return {
        "schema_version": 1,
        "name": "my-regressor",
        "task": task,
        "model": {"factory": "own:model"},
        "evaluation": {"factory": "own:samples"},
        "benchmark": FAST,
        "gates": {"min": {"r2": 0.9}},
        "variants": [{"name": name, "quantizer": quantizer} for name, quantizer in variants.items()],
    }


def save(folder: Path, made: dict, path: str = "") -> dict:
    (folder / "recipe.yaml").write_text(json.dumps(made))
    code = (
        "import sys; from quantbento.cli import save_models; "
        "code = save_models(['recipe.yaml']); print(open('reports/my-regressor/report.json').read()); sys.exit(code)"
    )
    done = python(folder, code, path=path)
    return json.loads(done.stdout[done.stdout.index("\n{") :])


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The page's files in a user's folder, with a model and samples; its variants are stored."""
    folder = tmp_path_factory.mktemp("extending")
    assert set(FILES) == {"my_quantizers.py", "my_runtimes.py", "my_tasks.py", "my_service.py"}
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "own.py").write_text(OWN_MODEL)
    save(folder, recipe("my_tasks:Regression", VARIANTS))
    return folder


@pytest.fixture(scope="module")
def rows(project) -> dict[str, dict]:
    report = json.loads((project / "reports" / "my-regressor" / "report.json").read_text())
    return {row["name"]: row for row in report["variants"]}


def test_the_quantizer_is_short_enough_to_be_read():
    assert len(FILES["my_quantizers.py"].splitlines()) <= 50


def test_variants_are_quantized_judged_by_the_tasks_metrics_and_stored(rows):
    assert {name: (row["passed"], row["error"]) for name, row in rows.items()} == dict.fromkeys(VARIANTS, (True, None))
    for row in rows.values():
        assert row["metrics"]["r2"] > 0.99 and row["metrics"]["max_difference"] > 0
        assert row["tag"].startswith(f"my-regressor-{row['name']}:")
        assert row["speedup_same_runtime"]["median"] > 0
        assert row["peak_memory_bytes"] > 10e6
    assert (rows["int8"]["scheme"], rows["int8"]["runtime"]) == ("W8A32", "torch")
    assert (rows["amd"]["scheme"], rows["amd"]["runtime"]) == ("int8-dynamic", "onnx-amd")
    assert rows["int8"]["quantized"]["counts"] == {"Linear": 3}
    assert rows["int8"]["size_ratio"] < 1


def test_full_precision_of_the_runtime_from_outside_is_in_the_report(project):
    report = json.loads((project / "reports" / "my-regressor" / "report.json").read_text())
    assert report["baseline"]["name"] == "torch-fp32"
    assert [row["name"] for row in report["references"]] == ["torch-bf16", "onnx-amd-fp32"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stored_variant_loads_and_answers_with_numbers(project, variant):
    code = f"""
import json, quantbento, own
loaded = quantbento.load("my-regressor-{variant}")
x, y = own.samples()
print(json.dumps([loaded(list(x["input"][:3])), y[:3].tolist()]))
"""
    answers, labels = json.loads(python(project, code).stdout.splitlines()[-1])
    assert all(isinstance(answer, float) for answer in answers)
    np.testing.assert_allclose(answers, labels, atol=0.05)


@pytest.mark.server
def test_the_task_is_served_by_the_pages_service(project, tmp_path):
    from examples.server import bento, serve

    environment = {"BENTOML_HOME": str(project / "bentoml"), "PYTHONPATH": str(project)}
    command = bento("my_service:Regressor")
    before = Path.cwd()
    os.chdir(project)
    try:
        with serve(command, environment, tmp_path / "server.log") as server:
            answer = httpx.post(f"{server.url}/estimate", json={"inputs": [[0.5] * 8, [0.0] * 8]})
            wrong = httpx.post(f"{server.url}/estimate", json={"inputs": [[0.5] * 7]})
            info = httpx.get(f"{server.url}/info").json()
    finally:
        os.chdir(before)
    assert answer.status_code == 200 and len(answer.json()) == 2
    assert all(isinstance(number, float) for number in answer.json())
    assert wrong.status_code == 400 and "must have shape (8,)" in wrong.text
    assert (info["task"], info["runtime"]) == ("my_tasks:Regression", "torch")


def test_a_second_run_makes_nothing_and_a_change_of_the_users_code_makes_it_anew(project, rows):
    again = save(project, recipe("my_tasks:Regression", VARIANTS))
    assert all(row["reused"] for row in again["variants"])
    source = project / "my_quantizers.py"
    source.write_text(source.read_text() + "\n# another version\n")
    changed = {row["name"]: row for row in save(project, recipe("my_tasks:Regression", VARIANTS))["variants"]}
    assert (changed["int8"]["reused"], changed["amd"]["reused"]) == (False, True)
    assert changed["int8"]["tag"] != rows["int8"]["tag"]


def test_a_package_announces_the_same_classes_by_entry_points(project, tmp_path):
    """A package as pip installs it: modules and a dist-info folder with the page's entry points."""
    site = tmp_path / "site"
    info = site / "my_package-1.0.dist-info"
    info.mkdir(parents=True)
    for name, text in FILES.items():
        (site / name).write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    lines = [line.replace('"', "") for line in ENTRY_POINTS.splitlines()]
    lines = [re.sub(r"^\[project\.entry-points\.(.*)\]$", r"[\1]", line) for line in lines]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "own.py").write_text(OWN_MODEL)
    made = save(tmp_path, recipe("regression", {"int8": "weight-only-int8"}), path=str(site))
    assert [(row["passed"], row["error"]) for row in made["variants"]] == [(True, None)]
    code = "import quantbento; print(quantbento.load('my-regressor-int8')([[0.0] * 8]))"
    assert re.fullmatch(r"\[-?[\d.]+\]", python(tmp_path, code, path=str(site)).stdout.splitlines()[-1])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.1\n")
    again = save(tmp_path, recipe("regression", {"int8": "weight-only-int8"}), path=str(site))
    assert [row["reused"] for row in again["variants"]] == [False]


def test_what_is_wrong_with_a_class_from_outside_is_said(project):
    code = """
from quantbento.making import plan
from quantbento.core.errors import RecipeError
recipe = {"schema_version": 1, "name": "x", "task": "my_tasks:Regresion", "model": {"factory": "own:model"},
          "evaluation": {"factory": "own:samples"}, "variants": [
              {"name": "a", "quantizer": "my_quantizers:Int8Linear"}, {"name": "b", "quantizer": "nowhere:Q"}]}
try:
    plan.make(recipe, None, False)
except RecipeError as error:
    print(*error.problems, sep="\\n")
"""
    task, a, b = python(project, code).stdout.splitlines()
    assert task.startswith("task: 'my_tasks:Regresion': my_tasks has no 'Regresion'; did you mean 'Regression'?")
    assert a.startswith("variants[0].quantizer: quantizer 'my_quantizers:Int8Linear' is no subclass of")
    assert b.startswith("variants[1].quantizer: 'nowhere:Q': no module named 'nowhere'")


def test_a_class_that_declares_too_little_is_refused(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    (project / "half.py").write_text(
        "from quantbento.quantizers.base import Quantizer\nclass Half(Quantizer):\n    name = 'half'\n"
    )
    with pytest.raises(QuantbentoError, match="does not declare scheme, runtimes, starts_from, modules, distributions"):
        registry.quantizer("half:Half")
