"""`quantbento models`, `verify` and `delete` as a user runs them."""

from __future__ import annotations

import io
import sys

import pytest

from quantbento import cli, store
from tests.test_store import flip, write_artifact


def test_models_lists_what_is_stored(demo_model, capsys):
    assert cli.main(["models"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "demo-int8" in line)
    for cell in (demo_model.tag, "int8-dynamic", "onnx", "1.0 kB", "0.250", demo_model.created[:19]):
        assert cell in line


def test_models_of_one_name(demo_model, tmp_path, capsys):
    store.save("other", write_artifact(tmp_path / "other"), {}, {}, {})
    assert cli.main(["models", "other"]) == 0
    out = capsys.readouterr().out
    assert "other:" in out
    assert "demo-int8" not in out


def test_verify_is_0_for_whole_models_and_1_for_damaged_ones(demo_model, tmp_path, capsys):
    other = store.save("other", write_artifact(tmp_path / "other"), {}, {}, {})
    assert cli.main(["verify"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["ok", demo_model.tag],
        ["ok", other.tag],
    ]
    flip(demo_model.path / "model.onnx")
    assert cli.main(["verify"]) == 1
    damaged, ok = capsys.readouterr().out.splitlines()
    assert damaged.startswith(f"damaged  {demo_model.tag}")
    assert "model.onnx was changed" in damaged
    assert ok.startswith(f"ok       {other.tag}")
    assert cli.main(["verify", "other"]) == 0


@pytest.mark.parametrize("command", ["verify", "delete"])
def test_a_model_that_is_not_there_is_exit_code_2(demo_model, command, capsys):
    assert cli.main([command, "demo-int4"]) == 2
    assert "error: no model 'demo-int4' in the store; did you mean 'demo-int8'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "deleted"),
    [("y", True), ("YES", True), ("n", False), ("", False), ("demo", False)],
    ids=["y", "yes", "n", "return", "anything-else"],
)
def test_delete_asks_and_names_the_version(demo_model, answer, deleted, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", terminal(answer + "\n"))
    assert cli.main(["delete", "demo-int8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"delete {demo_model.tag}? [y/N] ")
    assert (f"deleted {demo_model.tag}" in out) is deleted
    assert demo_model.path.exists() is not deleted


def test_delete_without_a_terminal_wants_yes(demo_model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert cli.main(["delete", "demo-int8"]) == 2
    assert f"delete {demo_model.tag} asks before it removes anything; add --yes" in capsys.readouterr().err
    assert demo_model.path.exists()
    assert cli.main(["delete", "demo-int8", "--yes"]) == 0
    assert capsys.readouterr().out == f"deleted {demo_model.tag}\n"
    assert store.models() == []


def terminal(text: str) -> io.StringIO:
    typed = io.StringIO(text)
    typed.isatty = lambda: True  # type: ignore[method-assign]
    return typed
