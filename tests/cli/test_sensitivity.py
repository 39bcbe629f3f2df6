from __future__ import annotations

import json

import yaml

from quantbento import cli
from tests.making.sensitivity.bad_layer import recipe


def test_the_worst_layer_a_heat_map_and_the_file(tmp_path, bento_home, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(recipe([{"name": "v", "quantizer": "torch-dynamic"}], False)))
    asked = ["sensitivity", str(file), "--variant", "v", "--samples", "4", "--output", str(tmp_path)]
    assert cli.main(asked) == 0
    out = capsys.readouterr().out
    assert out.index("blocks.2.0") < out.index("blocks.0.0"), "the worst first"
    assert "0 ██" in out
    assert "all layers together" in out
    assert "measured: torch-dynamic, all other layers kept; run by torch; 4 samples" in out
    path = tmp_path / "bad" / "sensitivity-v.json"
    assert f"sensitivity: {path}" in out
    assert len(json.loads(path.read_text())["layers"]) == 5


def test_a_variant_that_does_not_exist(tmp_path, bento_home, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(recipe([{"name": "int8", "quantizer": "torch-dynamic"}], False)))
    assert cli.main(["sensitivity", str(file), "--variant", "int9"]) == 2
    assert "no variant 'int9'; did you mean 'int8'?" in capsys.readouterr().err
