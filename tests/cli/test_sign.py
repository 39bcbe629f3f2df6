"""`quantbento keygen` and `sign` as a user runs them, and `verify` with keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento import cli, store
from tests.store.test_models import flip, write_artifact


@pytest.fixture
def keys(tmp_path, monkeypatch, capsys):
    """`release` and `foreign`, in the current folder."""
    (tmp_path / "keys").mkdir()
    monkeypatch.chdir(tmp_path / "keys")
    assert [cli.main(["keygen", "--out", name]) for name in ("release", "foreign")] == [0, 0]
    return capsys.readouterr().out.splitlines()


def test_keygen_says_what_each_file_is_for(keys):
    assert keys[0] == "release.pem signs models: keep it secret, and out of images and repositories"
    assert keys[1] == "release.pub.pem checks signatures: give it to services, as trusted_keys"
    assert sorted(path.name for path in Path().iterdir()) == [
        *("foreign.pem", "foreign.pub.pem", "release.pem", "release.pub.pem")
    ]


def test_an_existing_key_is_exit_code_2(keys, capsys):
    assert cli.main(["keygen", "--out", "release"]) == 2
    assert "error: release.pem and release.pub.pem would be overwritten" in capsys.readouterr().err


def test_a_signed_model_is_verified_with_its_key(keys, demo_model, capsys):
    assert cli.main(["sign", "demo-int8", "--key", "release.pem"]) == 0
    assert capsys.readouterr().out == f"signed {demo_model.tag} with release.pem\n"
    both = ["--trusted-key", "foreign.pub.pem", "--trusted-key", "release.pub.pem"]
    assert cli.main(["verify", "demo-int8", *both]) == 0
    assert capsys.readouterr().out == f"ok       {demo_model.tag}  2 files, signed: release.pub.pem\n"
    assert cli.main(["verify", "demo-int8"]) == 0
    assert capsys.readouterr().out == f"ok       {demo_model.tag}  2 files\n"


def test_verify_tells_unsigned_and_foreign_and_damaged_models_apart(keys, demo_model, tmp_path, capsys):
    others = [store.save(f"other-{i}", write_artifact(tmp_path / str(i)), {"i": i}, {}, {}) for i in range(3)]
    assert cli.main(["sign", demo_model.tag, "--key", "release.pem"]) == 0
    assert cli.main(["sign", others[1].tag, "--key", "foreign.pem"]) == 0
    flip(others[2].path / "model.onnx")
    capsys.readouterr()
    assert cli.main(["verify", "--trusted-key", "release.pub.pem"]) == 1
    ok, unsigned, foreign, damaged = capsys.readouterr().out.splitlines()
    assert ok.startswith(f"ok       {demo_model.tag}")
    assert unsigned.startswith(f"refused  {others[0].tag} is not signed by a trusted key: it has no model.sig")
    assert foreign.startswith(f"refused  {others[1].tag} is not signed by a trusted key: Key mismatch")
    assert damaged.startswith(f"damaged  {others[2].tag} is not as it was saved")


@pytest.mark.parametrize("command", [["verify", "--trusted-key", "gone"], ["sign", "demo-int8", "--key", "gone"]])
def test_a_key_that_is_not_there_is_exit_code_2(keys, demo_model, command, capsys):
    assert cli.main(command) == 2
    assert f"{Path('gone').absolute()} cannot be read: No such file" in capsys.readouterr().err
