"""A screen of prompts: rules in a YAML file, by which requests are refused before a model reads them.

    control_characters: refuse     # Unicode's categories Cc and Cf, but for tab and the ends of lines; default: allow
    max_characters: 20000          # of one text
    phrases:                       # without regard to case, width and white space
      - our internal code name
    patterns:                      # by a name that clients are told
      card-number: '\\b(?:\\d[ -]?){13,16}\\b'

It finds what is written as its rules say. It does not stop prompt injection: whoever writes the same in other words,
in another language, in another alphabet or in Base64 passes.

Patterns run in the package `regex`, not in `re`: a pattern like `(a+)+b` takes hours for some texts of 40 characters,
and `re` can neither be stopped nor lets another thread run meanwhile. `regex` does both. It is where Transformers and
vLLM are, which need it themselves.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from quantbento.core.errors import QuantbentoError

# Of the process's CPU time, which `regex` counts: all patterns of a request. 100,000 characters take milliseconds.
SECONDS = 0.5
KEPT = "\t\n\r"
CONTROL = ("Cc", "Cf")

Phrase = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ScreenError(QuantbentoError):
    """A file of rules cannot be used; lists every problem."""


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid")

    control_characters: Literal["allow", "refuse"] = "allow"
    max_characters: int | None = Field(None, ge=1)
    phrases: Annotated[list[Phrase], Field(max_length=10_000)] = []
    patterns: Annotated[dict[RuleName, Phrase], Field(max_length=1000)] = {}


class Screen:
    """The rules of a file."""

    def __init__(self, rules: _Rules, patterns: dict[str, Any]) -> None:
        """`patterns` are the compiled ones, by name."""
        self._rules, self._patterns = rules, patterns
        self._phrases = [_folded(phrase) for phrase in rules.phrases]

    @classmethod
    def read(cls, path: Path) -> Self:
        """
        Raises:
            ScreenError: the file cannot be read, or is wrong.
        """
        try:
            rules = _Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except OSError as error:
            told = (error.strerror or str(error)).lower()
            raise ScreenError(f"{path.absolute()}, a file of rules for prompts, cannot be read: {told}") from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise ScreenError(f"{path.absolute()}, a file of rules for prompts, is no YAML: {error}") from None
        except ValidationError as error:
            raise _wrong(path, (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None
        return cls(rules, _compiled(path, rules))

    def broken_rule(self, texts: Sequence[str]) -> str | None:
        """The first rule that one of the texts breaks, without a word of the text; None where all may pass.

        Takes up to a fraction of a second: for a thread of its own.
        """
        end = time.process_time() + SECONDS
        for text in texts:
            rule = self._of_characters(text) or self._of_phrases(text) or self._of_patterns(text, end)
            if rule is not None:
                return rule
        return None

    def _of_characters(self, text: str) -> str | None:
        most = self._rules.max_characters
        if most is not None and len(text) > most:
            return f"max_characters: at most {most}"
        refuses = self._rules.control_characters == "refuse"
        if refuses and any(unicodedata.category(c) in CONTROL and c not in KEPT for c in set(text)):
            return "control_characters: only tab and ends of lines are allowed"
        return None

    def _of_phrases(self, text: str) -> str | None:
        folded = _folded(text) if self._phrases else ""
        found = (number for number, phrase in enumerate(self._phrases, start=1) if phrase in folded)
        return next((f"phrases: number {number}" for number in found), None)

    def _of_patterns(self, text: str, end: float) -> str | None:
        for name, pattern in self._patterns.items():
            try:
                # 0 would be no limit.
                if pattern.search(text, timeout=max(end - time.process_time(), 1e-4), concurrent=True):
                    return f"patterns: {name}"
            except TimeoutError:
                return f"patterns: {name}, which took too long to search for"
        return None


def _compiled(path: Path, rules: _Rules) -> dict[str, Any]:
    if not rules.patterns:
        return {}
    try:
        import regex
    except ImportError:
        raise ScreenError(f"the patterns of {path} need the package 'regex'; run: pip install regex") from None
    found, problems = {}, []
    for name, pattern in rules.patterns.items():
        try:
            found[name] = regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError) as error:
            problems.append(f"patterns.{name}: no regular expression: {error}")
    if problems:
        raise _wrong(path, problems)
    return found


def _wrong(path: Path, problems: Iterable[str]) -> ScreenError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    allowed = ", ".join(_Rules.model_fields)
    return ScreenError(f"{path.absolute()}, a file of rules for prompts, is wrong (allowed: {allowed}):\n{lines}")


def _folded(text: str) -> str:
    """What looks alike, alike: compatibility forms, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
