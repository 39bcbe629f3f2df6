"""Text is returned as soon as it is certain, and never includes what is cut off later."""

import pytest

from quantbento.runtimes.continuation import Continuation
from quantbento.runtimes.language_model import Generated, Sampling


class Utf8:
    """A tokenizer with one token per byte; byte 0 is special and has no text."""

    def decode(self, tokens, *, skip_special_tokens, clean_up_tokenization_spaces):
        return bytes(t for t in tokens if t).decode("utf-8", errors="replace")


class Words:
    """A tokenizer like Llama 2's: a word's space is lost at the start of a text."""

    def decode(self, tokens, *, skip_special_tokens, clean_up_tokenization_spaces):
        return "".join(f" w{t}" for t in tokens).removeprefix(" ")


def told(text, *, stop=(), max_tokens=100, end=True):
    """The pieces returned for the bytes of a text, and the whole continuation."""
    row = Continuation(Utf8(), list(b"prompt"), Sampling(max_tokens=max_tokens, stop=stop), {0})
    pieces = []
    for token in [*(text if isinstance(text, bytes) else text.encode()), *[0] * end]:
        pieces.append(row.add(token))
        if row.finish_reason:
            break
    return pieces, row.generated()


def test_characters_are_told_when_they_are_whole():
    pieces, generated = told("a–🙂b")
    assert pieces == ["a", "", "", "–", "", "", "", "🙂", "b", ""]
    assert generated == Generated("a–🙂b", [*"a–🙂b".encode(), 0], "stop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ok🙂".encode()[:-1], "ok"), (b"a\xffb", "a\ufffdb")],
    ids=["cut-off", "within"],
)
def test_bytes_that_are_no_character(text, expected):
    pieces, generated = told(text)
    assert "".join(pieces) == generated.text == expected


def test_words_keep_the_space_before_them():
    row = Continuation(Words(), [1, 2], Sampling(max_tokens=3), ())
    assert [row.add(t) for t in (3, 4, 5)] == [" w3", " w4", " w5"]


@pytest.mark.parametrize(
    ("stop", "expected", "text"),
    [
        (("cd",), ["a", "b", "", ""], "ab"),
        (("bX", "cX"), ["a", "", "b", "cd", "e", ""], "abcde"),
        (("de", "bcd"), ["a", "", "", ""], "a"),
        (("abcdef",), ["", "", "", "", "", "abcde"], "abcde"),
        (("a",), [""], ""),
    ],
    ids=["spans-pieces", "only-its-start", "the-first-of-two", "held-to-the-end", "at-once"],
)
def test_stop_strings_are_never_told(stop, expected, text):
    pieces, generated = told("abcde", stop=stop)
    assert pieces == expected
    assert generated.text == text
    assert generated.finish_reason == "stop"


def test_a_stop_string_within_one_piece_is_cut_there():
    class Syllables(Utf8):
        def decode(self, tokens, **options):
            return "".join(["one ", "stop it ", "now"][t] for t in tokens)

    row = Continuation(Syllables(), [0], Sampling(stop=("op i",)), ())
    assert [row.add(0), row.add(1)] == ["one ", "st"]
    assert row.generated() == Generated("one st", [0, 1], "stop")


def test_the_last_token_allowed_may_be_the_end():
    assert told("abc", max_tokens=2)[1] == Generated("ab", [*b"ab"], "length")
    assert told("abc", max_tokens=4)[1] == Generated("abc", [*b"abc", 0], "stop")


def test_text_held_for_a_stop_string_is_told_when_tokens_run_out():
    pieces, generated = told("abst", stop=("stop",), max_tokens=4, end=False)
    assert pieces == ["a", "b", "", "st"]
    assert generated.text == "abst"
