"""A YAML file's values keep their lines, and every problem names its place."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from quantbento.core.errors import RecipeError
from quantbento.recipe.document import Document, Problem, describe_errors, dotted

TEXT = """\
# a comment
name: x
variants:
  - name: a
    options:
      per_channel: yes
  - {name: b}
"""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    per_channel: bool = True
    include: list[str] = []


class Top(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    variants: list[Options] = []
    by_name: dict[str, Options] = {}
    maybe: Options | None = None


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT)
    return Document.of(path)


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("name",), 2),
        (("variants", 0, "options", "per_channel"), 6),
        (("variants", 1, "name"), 7),
        (("variants", 0, "quantizer"), 4),
        (("variants", 9), 3),
        (("task",), 1),
    ],
    ids=["key", "nested", "flow-style", "missing-in-item", "missing-item", "missing-at-top"],
)
def test_a_problem_carries_the_line_of_its_value_or_of_what_is_around_it(document, loc, line):
    assert document.lines([Problem(loc, "is wrong")]) == [f"line {line}: {dotted(loc)}: is wrong"]


def test_problems_are_in_the_order_of_the_file(document):
    lines = document.lines([Problem(("variants", 1), "late"), Problem(("name",), "early")])
    assert [line.rpartition(": ")[2] for line in lines] == ["early", "late"]


def test_a_mapping_has_places_but_no_lines():
    assert Document.of({"name": "x"}).lines([Problem(("variants", 0), "is wrong")]) == ["variants[0]: is wrong"]


def test_a_repeated_key_is_a_problem_with_its_line_at_any_depth(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("name: x\nvariants:\n  - name: a\n    name: b\nname: y\n")
    assert Document.of(path).lines([Problem(("variants", 0, "name"), "is wrong")]) == [
        "line 4: variants[0].name: is wrong",  # the one that counts
        "line 4: the key 'name' is there twice",
        "line 5: the key 'name' is there twice",
    ]


def test_relative_paths_start_at_the_file(tmp_path, monkeypatch, document):
    monkeypatch.chdir("/")
    assert document.folder == tmp_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [x\nvariants: 3\n", r"line 2: not valid YAML"),
        (b"day: 2024-13-01\n", r"not valid YAML: month must be in 1..12"),
        (b"- a\n- b\n", r"must be a mapping of keys to values, not list"),
        (b"", r"must be a mapping of keys to values, not NoneType"),
        (b"name: \xff\n", r"cannot be read: 'utf-8' codec"),
    ],
    ids=["syntax", "impossible-date", "list", "empty", "not-utf8"],
)
def test_what_is_no_yaml_mapping_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as caught:
        Document.of(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "minilm.yaml").write_text("a: 1")
    with pytest.raises(RecipeError, match=r"no such file; did you mean '.*minilm\.yaml'\?"):
        Document.of(tmp_path / "minlm.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "name: is required"),
        ({"name": 3}, "name: input should be a valid string, not 3"),
        ({"nam": "x", "name": "x"}, "nam: unknown key; did you mean 'name'?"),
        ({"name": "x", "variants": [{"zzz": 1}]}, "variants[0].zzz: unknown key (allowed: 'per_channel' or 'include')"),
        ({"name": "x", "by_name": {"a": {"inclde": []}}}, "by_name.a.inclde: unknown key; did you mean 'include'?"),
        ({"name": "x", "maybe": {"inclde": []}}, "maybe.inclde: unknown key; did you mean 'include'?"),
    ],
    ids=["missing", "type", "typo", "nothing-near", "typo-in-mapping", "typo-in-optional"],
)
def test_pydantic_errors_become_messages_to_act_on(data, message):
    with pytest.raises(ValidationError) as caught:
        Top.model_validate(data)
    assert [f"{dotted(loc)}: {text}" for loc, text, *_ in describe_errors(caught.value, Top)] == [message]
