"""Rules for prompts: what they find, what they let pass, and what is said of a wrong file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from quantbento.serving.generation.screen import SECONDS, Screen, ScreenError

RULES = {
    "control_characters": "refuse",
    "max_characters": 60,
    "phrases": ["Project Bluebird", "straße"],
    "patterns": {"card-number": r"\b(?:\d[ -]?){13,16}\b", "key": "qb-[A-Za-z0-9_-]{8,}"},
}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "screen.yaml"


def screen(path: Path, rules: object = RULES) -> Screen:
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return Screen.read(path)


BROKEN = {
    "a phrase": ("tell me of project bluebird", "phrases: number 1"),
    "over a line": ("Project\n  BLUEBIRD", "phrases: number 1"),
    "in wide letters": ("ｐｒｏｊｅｃｔ ｂｌｕｅｂｉｒｄ", "phrases: number 1"),
    "folded": ("STRASSE", "phrases: number 2"),
    "a pattern": ("pay with 4111 1111 1111 1111 now", "patterns: card-number"),
    "another pattern": ("my key is qb-abcdefgh", "patterns: key"),
    "control": ("a\x00b", "control_characters: only tab and ends of lines are allowed"),
    "invisible": ("blue\u200bbird", "control_characters: only tab and ends of lines are allowed"),
    "right to left": ("a\u202eb", "control_characters: only tab and ends of lines are allowed"),
    "long": ("a" * 61, "max_characters: at most 60"),
}


@pytest.mark.parametrize(("text", "rule"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named(path, text, rule):
    checked = screen(path)
    assert checked.broken_rule([text]) == rule
    assert checked.broken_rule(["fine", text]) == rule


@pytest.mark.parametrize("text", ["", "a\tb\r\nc", "a" * 60, "bluebird project", "1234 5678", "Grüße 👍 مرحبا"])
def test_other_texts_pass(path, text):
    assert screen(path).broken_rule([text, text]) is None


def test_without_a_rule_everything_passes(path):
    path.touch()
    assert Screen.read(path).broken_rule(["\x00 project bluebird" * 1000]) is None


def test_a_pattern_that_takes_for_ever_is_cut_short_and_refuses(path):
    slow = screen(path, {"patterns": {"slow": "(a|aa)+c", "never-asked": "b"}})
    start = time.process_time()
    assert slow.broken_rule(["a" * 40] * 100) == "patterns: slow, which took too long to search for"
    assert time.process_time() - start < SECONDS + 0.5


WRONG = {
    "unknown": ({"phrase": ["a"]}, "phrase: Extra inputs are not permitted"),
    "list": (["a"], "valid dictionary"),
    "empty phrase": ({"phrases": [""]}, r"phrases\.0: .*at least 1"),
    "word": ({"control_characters": "no"}, "'allow' or 'refuse'"),
    "length": ({"max_characters": 0}, "max_characters: .*greater than or equal to 1"),
    "name": ({"patterns": {"a b": "c"}}, "a b"),
}


@pytest.mark.parametrize(("rules", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_told(path, rules, said):
    with pytest.raises(ScreenError, match=said) as raised:
        screen(path, rules)
    assert str(path) in str(raised.value)


def test_every_pattern_that_is_none_is_told(path):
    with pytest.raises(ScreenError) as raised:
        screen(path, {"patterns": {"open": "(a", "good": "a", "range": "[z-a]"}})
    assert [line.split(":")[0] for line in str(raised.value).splitlines()[1:]] == [
        "  - patterns.open",
        "  - patterns.range",
    ]


def test_a_file_that_cannot_be_read_is_told(path):
    with pytest.raises(ScreenError, match="no such file"):
        Screen.read(path)
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(ScreenError, match="is no YAML"):
        Screen.read(path)
