"""`quantbento judge` as a user runs it; what it does is in tests/making/test_judging_later.py."""

from __future__ import annotations

import json

import pytest
import yaml

from quantbento import cli, store
from tests.making.test_judging_later import made, recipe


def test_making_then_judging(tmp_path, bento_home, capsys):
    (tmp_path / "moons.yaml").write_text(yaml.safe_dump(recipe()))
    given, output = [str(tmp_path / "moons.yaml"), "--variant", "int8"], ["--output", str(tmp_path / "reports")]
    assert cli.main(["save", *given, "--judge", "none", "--dry-run"]) == 0
    assert "served by onnx; not judged here" in capsys.readouterr().out
    assert cli.main(["save", *given, *output, "--judge", "none"]) == 3
    tag = store.find("moons-int8").tag
    assert f"not judged. Where onnx runs: quantbento judge {tag}" in capsys.readouterr().out
    assert cli.main(["judge", "moons-int8", *output]) == 0
    said = capsys.readouterr().out
    after = store.find("moons-int8").tag
    assert f"{tag} is judged: it is {after} now" in said and "passed 1" in said
    [row] = json.loads((tmp_path / "reports" / "moons" / "report.json").read_text())["variants"]
    assert (row["tag"], row["passed"]) == (after, True)


def test_one_that_fails_is_exit_code_1(tmp_path, bento_home, capsys):
    made(tmp_path, recipe() | {"gates": {"min": {"sqnr_db": 1000}}})
    assert cli.main(["judge", "moons-int8", "--output", str(tmp_path / "reports")]) == 1
    assert "failed: sqnr_db" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nothing"], "no model 'nothing'"), (["demo-int8"], "was judged already, and passed"), ([], "required: tag")],
)
def test_mistakes_are_exit_code_2(demo_model, capsys, arguments, told):
    try:
        code = cli.main(["judge", *arguments])
    except SystemExit as ended:  # argparse's own
        code = ended.code
    assert code == 2
    assert told in capsys.readouterr().err
