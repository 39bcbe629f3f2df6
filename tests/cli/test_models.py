"""`quantbento models`, `verify`, `promote` and the others as a user runs them."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from quantbento import cli, store
from quantbento.store import aliases
from tests.store.test_models import flip, write_artifact


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


@pytest.fixture
def newer(demo_model, tmp_path):
    """A second version of demo-int8."""
    return store.save("demo-int8", write_artifact(tmp_path / "newer", 2), {}, {}, {})


def test_an_alias_is_promoted_followed_and_rolled_back(demo_model, newer, capsys):
    assert cli.main(["promote", demo_model.tag, "--as", "production"]) == 0
    assert cli.main(["promote", "demo-int8", "--as", "production", "--reason", "new samples"]) == 0
    assert cli.main(["promote", "demo-int8", "--as", "production"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"demo-int8:production is {demo_model.tag} (new)",
        f"demo-int8:production is {newer.tag} (was {demo_model.tag})",
        f"demo-int8:production is {newer.tag} (as before)",
    ]
    assert cli.main(["verify", "demo-int8:production"]) == 0
    assert capsys.readouterr().out.startswith(f"ok       {newer.tag}  ")
    assert cli.main(["rollback", "demo-int8", "--as", "production"]) == 0
    assert capsys.readouterr().out == f"demo-int8:production went back from {newer.tag} to {demo_model.tag}\n"
    assert store.find("demo-int8:production") == demo_model
    assert cli.main(["rollback", "demo-int8", "--as", "production"]) == 2
    assert f"error: demo-int8:production stood for nothing before {demo_model.tag}" in capsys.readouterr().err


def test_a_roll_back_tells_what_it_skips(demo_model, newer, made, capsys):
    third = store.save("demo-int8", made, {"number": 3}, {}, {})
    for tag in (demo_model.tag, newer.tag, third.tag):
        aliases.promote(tag, "production")
    store.delete(newer.tag)
    assert cli.main(["rollback", "demo-int8", "--as", "production"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"skipped {newer.tag}: it was deleted",
        f"demo-int8:production went back from {third.tag} to {demo_model.tag}",
    ]


def test_history_is_a_line_a_move_of_all_aliases_or_one(demo_model, newer, capsys):
    assert cli.main(["history", "demo-int8"]) == 0
    assert "demo-int8 has no alias; set one with: quantbento promote demo-int8 --as" in capsys.readouterr().out
    aliases.promote(demo_model.tag, "1.2.0", reason="first release")
    aliases.promote(newer.tag, "production")
    aliases.promote(demo_model.tag, "production")
    aliases.rollback("demo-int8", "production", reason="too slow")
    assert cli.main(["history", "demo-int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    old, new = demo_model.path.name, newer.path.name
    assert [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00  ", "", line) for line in lines] == [
        f"1.2.0       promoted     {old}  first release",
        f"production  promoted     {new}",
        f"production  promoted     {old}",
        f"production  rolled back  {new}  too slow",
    ]
    assert cli.main(["history", "demo-int8", "--as", "1.2.0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_model_that_failed_its_gates_needs_force_and_history_says_so(made, capsys):
    store.save("failing", made, {"variant": {"passed": False, "gates": []}}, {}, {})
    assert cli.main(["promote", "failing", "--as", "production"]) == 2
    assert "was not promoted, it failed its gates" in capsys.readouterr().err
    assert cli.main(["promote", "failing", "--as", "production", "--force", "--reason", "no other"]) == 0
    cli.main(["history", "failing"])
    assert "(forced) no other" in capsys.readouterr().out


def test_what_an_alias_stands_for_is_not_deleted(demo_model, newer, capsys):
    aliases.promote(demo_model.tag, "production")
    assert cli.main(["delete", "demo-int8:production", "--yes"]) == 2
    err = capsys.readouterr().err
    assert f"error: {demo_model.tag} was not deleted: demo-int8:production stands for it" in err
    assert "quantbento rollback demo-int8 --as production" in err
    assert demo_model.verify()
    assert cli.main(["delete", newer.tag, "--yes"]) == 0


@pytest.mark.parametrize("tags", [[], ["demo-int8:production", "demo-int8"]], ids=["everything", "by-tag"])
def test_verify_tells_an_alias_that_points_nowhere(demo_model, newer, tags, capsys):
    import bentoml

    aliases.promote(newer.tag, "production")
    assert cli.main(["verify", *tags]) == 0
    bentoml.models.delete(newer.tag)
    capsys.readouterr()
    assert cli.main(["verify", *tags]) == 1
    ok, damaged = capsys.readouterr().out.splitlines()
    assert ok.startswith(f"ok       {demo_model.tag}")
    assert damaged.startswith(f"damaged  demo-int8:production stands for {newer.tag}, which is not in the store.")


def test_verify_tells_a_damaged_file_of_aliases(demo_model, bento_home, capsys):
    aliases.promote(demo_model.tag, "production")
    (bento_home / ".quantbento" / "aliases" / "demo-int8.json").write_text("{")
    assert cli.main(["verify"]) == 1
    assert "demo-int8.json, the aliases of 'demo-int8', is damaged" in capsys.readouterr().out


def test_labels_are_set_removed_and_listed(demo_model, capsys):
    assert cli.main(["label", "demo-int8", "team=search", "stage=canary"]) == 0
    assert cli.main(["label", demo_model.tag, "stage="]) == 0
    assert cli.main(["label", demo_model.tag, "team="]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{demo_model.tag}: team=search, stage=canary",
        f"{demo_model.tag}: team=search",
        f"{demo_model.tag}: no labels of yours",
    ]
    assert cli.main(["label", "demo-int8", "task=other"]) == 2
    assert "'task' was written by the save and stays" in capsys.readouterr().err


def test_models_as_json_is_a_list_with_or_without_models(demo_model, newer, capsys):
    aliases.promote(demo_model.tag, "production")
    assert cli.main(["models", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["tag"], one["aliases"]) for one in found] == [(newer.tag, []), (demo_model.tag, ["production"])]
    assert found[1]["digest"] == demo_model.digest
    assert cli.main(["models", "no-such-model", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.fixture
def made(tmp_path, bento_home):
    return write_artifact(tmp_path / "made", 3)


def terminal(text: str) -> io.StringIO:
    typed = io.StringIO(text)
    typed.isatty = lambda: True  # type: ignore[method-assign]
    return typed
