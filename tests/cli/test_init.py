"""`quantbento init` as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quantbento import cli
from quantbento.making.drafting.levels import LEVELS
from tests.cli.test_entry import HEAVY, SECONDS, imported


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, bento_home) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_a_recipe_and_says_what_comes_next(tiny_classifier, capsys):
    assert cli.main(["init", str(tiny_classifier), "--name", "mine"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("wrote mine.yaml\nBertForSequenceClassification, ")
    assert "mine-placeholder.jsonl" in out
    assert "Put your own in their place, or name them: --evaluation FILE" in out
    assert "quantbento save mine.yaml --rehearse" in out
    assert cli.main(["save", "mine.yaml", "--dry-run"]) == 0
    assert cli.main(["init", str(tiny_classifier), "--name", "mine"]) == 2
    assert "mine.yaml exists; --force replaces it" in capsys.readouterr().err


def test_stdout_is_the_recipe_alone_and_nothing_is_written(tiny_classifier, here, capsys):
    assert cli.main(["init", str(tiny_classifier), "--name", "mine", "--level", "99.9", "--stdout"]) == 0
    output = capsys.readouterr()
    assert yaml.safe_load(output.out)["gates"] == {"min_recovery": {"agreement": 0.999}}
    assert "not written: mine-placeholder.jsonl" in output.err
    assert [path.name for path in here.iterdir()] == ["bentoml"]


def test_samples_and_columns(tiny_classifier, capsys):
    Path("rows.csv").write_text("a,b,c\na good film,another text that is longer,1\na bad film,x,0\n")
    arguments = ["init", str(tiny_classifier), "--stdout", "--evaluation", "rows.csv"]
    assert cli.main([*arguments, "--columns", "text=a", "label=c"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["evaluation"] == {
        "path": "rows.csv",
        "columns": {"text": "a", "label": "c"},
        "count": 2,
    }
    assert cli.main([*arguments, "--columns", "text"]) == 2
    assert "it takes FIELD=COLUMN, for example text=review" in capsys.readouterr().err
    assert cli.main([*arguments, "--columns", "text=a", "--labels", "no,yes"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["task_options"] == {"labels": ["no", "yes"]}


def test_samples_to_calibrate_on_that_nobody_needs_are_refused(tiny_classifier, monkeypatch, capsys):
    from quantbento.core import registry

    for name in [n for n in registry.QUANTIZERS if registry.quantizer(n).data == "calibration"]:
        monkeypatch.delitem(registry.QUANTIZERS, name)
    Path("rows.txt").write_text("a good film\n")
    assert cli.main(["init", str(tiny_classifier), "--calibration", "rows.txt"]) == 2
    err = capsys.readouterr().err
    assert "--calibration would have no effect: none of torch-dynamic, onnx-dynamic" in err


def test_a_mistake_is_one_message_and_exit_code_2():
    command = [sys.executable, "-m", "quantbento.cli", "init", "no-such-model"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'no-such-model' is no file or folder here")
    assert len(done.stderr.splitlines()) == 1


def test_help_imports_nothing_heavy_and_names_the_levels():
    command = [sys.executable, "-X", "importtime", "-m", "quantbento.cli", "init", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert "{" + ",".join(LEVELS) + "}" in done.stdout
    assert not imported(done.stderr) & HEAVY
