"""The commands as a user runs them: exit codes, one message and no traceback, and a `--help` that answers at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bentoml
import numpy as np
import pytest
import yaml

from quantbento import cli, store
from tests.conftest import ROOT
from tests.jobs import onnx_file
from tests.store.test_models import tree

HEAVY = {"bentoml", "numpy", "onnxruntime", "torch", "transformers"}
SECONDS = 120  # most time a process may take

FACTORIES = """
import numpy, pathlib, time

def rows():
    return numpy.random.default_rng(0).normal(size=(16, 8)).astype("float32")

def waits():
    pathlib.Path("started").touch()
    while True:
        time.sleep(0.05)
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch, bento_home):
    """A recipe, as a dictionary, that needs no torch, in a folder with all it names; `write` makes a file of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_factories.py").write_text(FACTORIES)
    weights = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    nodes = [("MatMul", ["x", "w"], ["y"])]
    onnx_file(tmp_path / "tiny.onnx", nodes, {"x": ["batch", 8]}, {"y": ["batch", 4]}, {"w": weights})
    return {
        "schema_version": 1,
        "name": "tiny",
        "task": "tensor",
        "model": {"onnx": "tiny.onnx"},
        "evaluation": {"factory": "cli_factories:rows"},
        "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False},
        "variants": [
            {"name": "int8", "quantizer": "onnx-dynamic"},
            {"name": "smaller", "quantizer": "onnx-dynamic", "gates": {"max_size_ratio": 0.01}},
        ],
    }


def write(recipe: dict) -> str:
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return "recipe.yaml"


def process(*arguments: str, options: tuple[str, ...] = (), **settings) -> subprocess.Popen:
    """`python save_models.py ...`, its output buffered as in a shell's pipe."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, *options, str(ROOT / "save_models.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **settings,
    )


def imported(importtime: str) -> set[str]:
    """Top-level packages in the output of `python -X importtime`."""
    lines = [line for line in importtime.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


# What is printed without work


def test_help_answers_in_half_a_second():
    def seconds() -> float:
        start = time.perf_counter()
        out, _ = process("--help").communicate(timeout=SECONDS)
        assert out.startswith("usage: save_models.py")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5


def test_help_imports_nothing_heavy_and_tells_the_exit_codes():
    out, err = process("--help", options=("-X", "importtime")).communicate(timeout=SECONDS)
    assert "quantbento" in imported(err)
    assert not imported(err) & HEAVY
    assert "130 interrupted" in out


def test_dry_run_prints_the_plan_and_imports_no_engine(recipe):
    recipe["variants"][1] = {"name": "torch-int8", "quantizer": "torch-dynamic"}
    recipe["model"] = {"factory": "cli_factories:waits"}
    child = process(write(recipe), "--dry-run", options=("-X", "importtime"))
    out, err = child.communicate(timeout=SECONDS)
    assert child.returncode == 0
    assert "recipe   tiny: tensor" in out
    assert "variant  int8: onnx-dynamic (int8-dynamic), served by onnx" in out
    assert "variant  torch-int8: torch-dynamic (int8-dynamic), served by torch" in out
    assert "quantbento" in imported(err)
    assert not imported(err) & {"bentoml", "onnxruntime", "torch", "transformers"}
    assert not Path("started").exists()


def test_dry_run_of_one_variant(recipe, capsys):
    assert cli.save_models([write(recipe), "--dry-run", "--variant", "smaller"]) == 0
    out = capsys.readouterr().out
    assert "stored as tiny-smaller" in out
    assert "max_size_ratio 0.01" in out
    assert "int8:" not in out


def test_a_closed_pipe_is_no_error_message(recipe):
    child = process(write(recipe), "--dry-run")
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(SECONDS) == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("quantbento 0.")


# Mistakes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taks": "tensor"}, "taks: unknown key; did you mean 'task'?"),
        ({"model": {"onnx": "gone.onnx"}}, "no such file: "),
        ({"model": {"path": "gone"}}, "no such folder: "),
        ({"model": {"package": "no-such-package-here"}}, "pip install no-such-package-here"),
        ({"model": {"factory": "no_such_module:model"}}, "no module named 'no_such_module'"),
        ({"evaluation": {"factory": "no_such_module:rows"}}, "evaluation: 'no_such_module:rows': no module named"),
    ],
    ids=["misspelt-key", "no-onnx", "no-folder", "no-package", "no-model-factory", "no-samples-factory"],
)
def test_a_mistake_in_the_recipe_is_exit_code_2_and_one_message(recipe, capsys, change, message):
    assert cli.save_models([write({**recipe, **change})]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.splitlines()[-2].startswith("error: 1 problem in ")
    assert output.out == ""
    assert store.models() == []


def test_several_mistakes_are_told_at_once(recipe, capsys):
    recipe["variants"][0]["quantizer"] = "onnx-dynamics"
    recipe["task"] = "tensors"
    assert cli.save_models([write(recipe)]) == 2
    err = capsys.readouterr().err
    assert "error: 2 problems in recipe.yaml" in err
    assert "did you mean 'tensor'" in err
    assert "did you mean 'onnx-dynamic'" in err


def test_a_missing_recipe_names_the_nearest(recipe):
    write(recipe)
    child = process("recipes.yaml")
    out, err = child.communicate(timeout=SECONDS)
    assert (child.returncode, out) == (2, "")
    assert "no such file; did you mean 'recipe.yaml'?" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["save", "dry-run"])
def test_an_unknown_variant_names_the_nearest(recipe, capsys, options):
    assert cli.save_models([write(recipe), "--variant", "int-8", *options]) == 2
    assert "no variant 'int-8'; did you mean 'int8'? (it has 'int8' or 'smaller')" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["recipe.yaml", "--varaint", "int8"]], ids=["no-recipe", "misspelt-option"])
def test_a_wrong_option_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.save_models(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: save_models.py")


# A save


@pytest.mark.slow
def test_the_exit_code_tells_whether_every_variant_passed(recipe, bento_home, capsys):
    file = write(recipe)
    assert cli.save_models([file, "--output", "out"]) == 1
    output = capsys.readouterr().out
    [stored] = store.models()
    assert stored.tag.startswith("tiny-int8:")
    assert stored.tag in output
    assert "smaller: max_size_ratio failed:" in output
    assert f"report: {Path('out', 'tiny', 'report.json')}" in output
    report = json.loads(Path("out", "tiny", "report.json").read_text())
    assert [(v["name"], v["tag"], v["passed"]) for v in report["variants"]] == [
        ("int8", stored.tag, True),
        ("smaller", None, False),
    ]

    before = tree(bento_home / "models")
    assert cli.main(["save", file, "--output", "out", "--variant", "int8"]) == 0
    assert f"int8: unchanged, reusing {stored.tag}" in capsys.readouterr().err
    assert tree(bento_home / "models") == before

    assert cli.save_models([file, "--output", "out", "--variant", "smaller", "--keep-failed"]) == 1
    assert bentoml.models.get("tiny-smaller").info.labels["passed"] == "false"
    assert bentoml.models.get("tiny-int8").info.labels["passed"] == "true"


def test_an_output_folder_that_cannot_be_is_told_without_traceback(recipe, capsys):
    Path("taken").touch()
    recipe["variants"] = recipe["variants"][:1]
    assert cli.save_models([write(recipe), "--output", "taken"]) == 2
    assert "could not be written: Not a directory; name another folder with --output" in capsys.readouterr().err


def test_control_c_is_130_with_the_store_and_the_temporary_folder_as_they_were(
    recipe, demo_model, bento_home, monkeypatch
):
    recipe["model"] = {"factory": "cli_factories:waits"}
    monkeypatch.setenv("TMPDIR", str(bento_home.parent / "temporary"))
    Path("temporary").mkdir()
    before = tree(bento_home)
    child = process(write(recipe), start_new_session=True)
    wait_for(Path("started"), child)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    assert "interrupted; the model store is as it was" in err
    assert "Traceback" not in out + err
    assert tree(bento_home) == before
    assert list(Path("temporary").iterdir()) == []


def wait_for(path: Path, child: subprocess.Popen) -> None:
    end = time.monotonic() + SECONDS
    while not path.exists():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)
