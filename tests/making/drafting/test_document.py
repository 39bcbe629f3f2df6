"""What is written reads back as what was meant, with its comments beside it."""

from __future__ import annotations

import yaml

from quantbento.making.drafting.document import WIDTH, flow, render

RECIPE = {
    "schema_version": 1,
    "name": "1.5",  # YAML would read a number
    "task_options": {"labels": ["yes", "no", "null", "a: b", "# c"]},
    "model": {"factory": "a.b:c", "trust_remote_code": True},
    "evaluation": {"path": "ä ö.jsonl", "columns": {"text": "a b"}},
    "variants": [{"name": "a", "quantizer": "rtn", "options": {"group_size": 64}}, {"name": "b", "quantizer": "awq"}],
}


def test_it_reads_back_as_it_was_meant():
    assert yaml.safe_load(render(RECIPE, {})) == RECIPE


def test_comments_stand_beside_their_value_or_above_where_they_are_long():
    long = "word " * 40
    text = render(RECIPE, {("name",): "short", ("model", "factory"): long}, ["before"], ["after " * 40])
    lines = text.splitlines()
    assert lines[0] == "# before"
    assert "name: '1.5'  # short" in lines
    factory = next(i for i, line in enumerate(lines) if line.strip().startswith("factory: "))
    assert lines[factory - 1].strip().startswith("#")
    assert lines[-1].strip().startswith("#   after")
    assert max(map(len, lines)) <= WIDTH
    assert yaml.safe_load(text) == RECIPE


def test_a_value_on_one_line():
    assert flow({"min": {"accuracy": 0.99}}) == "{min: {accuracy: 0.99}}"
    assert flow("x" * 300) == "x" * 300
