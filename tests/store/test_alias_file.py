"""The file of aliases: current and earlier versions, and no damage to it is read as a valid state."""

from __future__ import annotations

import json

import pytest

from quantbento.core.errors import StoreError
from quantbento.store import alias_file
from quantbento.store.alias_file import Event
from quantbento.store.atomic import changing, own_path


def events(text: str) -> list[Event]:
    """`a b -a`: promoted a, promoted b, rolled back to a."""
    return [
        Event(word.lstrip("-"), "2026-01-02T03:04:05+00:00", "rolled back" if word[0] == "-" else "promoted")
        for word in text.split()
    ]


def append(name: str, alias: str, event: Event) -> None:
    with changing("nothing") as staged:
        alias_file.append(name, alias, event, staged)


@pytest.mark.parametrize(
    ("history", "before"),
    [
        ("a", ""),
        ("a b c", "b a"),
        ("a b c -b", "a"),
        ("a b c -b -a", ""),
        ("a b c -a", ""),
        ("a b -a c", "a"),
        ("a b -a b -a", ""),
        ("a b a", "b a"),
        ("a b a -b", "a"),
        ("a a b b", "a"),
    ],
    ids=lambda text: text.replace(" ", "_") or "nothing",
)
def test_before_is_what_undo_would_go_to(history, before):
    assert alias_file.before(events(history)) == before.split()


def test_the_file_holds_the_current_version_and_the_whole_history(bento_home):
    first, second, third = events("a b -a")
    for event in (first, second, third):
        append("demo", "production", event)
    append("demo", "1.2.0", first)
    assert alias_file.current("demo") == {"1.2.0": "a", "production": "a"}
    assert alias_file.read("demo") == {"1.2.0": [first], "production": [first, second, third]}
    document = json.loads((bento_home / ".quantbento" / "aliases" / "demo.json").read_text())
    assert document["schema_version"] == 1
    assert document["aliases"]["production"]["version"] == "a"
    assert [(e["version"], e["action"]) for e in document["aliases"]["production"]["history"]] == [
        ("a", "promoted"),
        ("b", "promoted"),
        ("a", "rolled back"),
    ]


def test_models_keep_theirs_apart_whatever_dots_their_names_have(bento_home):
    append("demo", "production", events("a")[0])
    append("demo.v2", "production", events("b")[0])
    assert alias_file.current("demo") == {"production": "a"}
    assert alias_file.current("demo.v2") == {"production": "b"}
    assert alias_file.names() == ["demo", "demo.v2"]


def test_reading_where_there_is_none_makes_no_folder(bento_home):
    assert alias_file.read("demo") == alias_file.current("demo") == {}
    assert alias_file.names() == []
    assert not own_path().exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 1}',
        '{"schema_version": 1, "aliases": []}',
        '{"schema_version": 1, "aliases": {"production": {"version": "a", "history": []}}}',
        '{"schema_version": 1, "aliases": {"production": {"version": "a", "history": [{"version": "a"}]}}}',
        b"\xff\xfe\x00",
    ],
    ids=["empty", "list", "no-schema", "no-aliases", "aliases-a-list", "no-history", "no-time", "not-utf8"],
)
def test_a_damaged_file_is_one_error_that_names_it(bento_home, text):
    append("demo", "production", events("a")[0])
    path = bento_home / ".quantbento" / "aliases" / "demo.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for use in (alias_file.read, alias_file.current, lambda name: append(name, "production", events("b")[0])):
        with pytest.raises(StoreError) as refused:
            use("demo")
        assert f"{path}, the aliases of 'demo', is damaged" in str(refused.value)


def test_a_cut_off_file_and_a_current_version_that_the_history_does_not_end_with_are_damage(bento_home):
    append("demo", "production", events("a")[0])
    path = bento_home / ".quantbento" / "aliases" / "demo.json"
    whole = path.read_text()
    for text in (whole[: len(whole) // 2], whole.replace('"version": "a"', '"version": "b"', 1)):
        path.write_text(text)
        with pytest.raises(StoreError, match="is damaged"):
            alias_file.read("demo")


def test_a_file_of_a_newer_quantbento_says_what_to_upgrade(bento_home):
    append("demo", "production", events("a")[0])
    path = bento_home / ".quantbento" / "aliases" / "demo.json"
    path.write_text('{"schema_version": 2, "aliases": "of another shape"}')
    with pytest.raises(StoreError, match=r"has schema_version 2, this quantbento reads up to 1.*--upgrade"):
        alias_file.read("demo")
