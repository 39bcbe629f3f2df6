"""Windows and sequences: as many as the texts fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.making.drafting import generation
from quantbento.tasks.text_generation import TextGeneration
from tests.tiny_llama import tokenizer_of

TEXT = "def f(x):\n    return x + 1\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The tokenizer of a language model, which is all that is read here."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer_of(TEXT * 20).save_pretrained(folder)
    return folder


def tokens(folder: Path, text: str) -> int:
    return len(TextGeneration(folder, TextGeneration.Options()).text_ids(text))


def test_defaults_that_fit_are_not_written(folder):
    plenty = [TEXT * 100] * 100
    assert generation.windows(TextGeneration, folder, plenty, 1024) == {}
    assert generation.sequences(TextGeneration, folder, plenty, 1024) == {"sequences": 128, "sequence_length": 256}


def test_fewer_and_shorter_where_the_texts_or_the_model_are_short(folder):
    text = TEXT * 200
    held = tokens(folder, text)
    found = generation.windows(TextGeneration, folder, [text], 100)
    assert found["window"] == 100
    assert found["windows"] * 100 <= held < 2 * found["windows"] * 100
    made = generation.sequences(TextGeneration, folder, [text], None)
    assert made["sequences"] * 256 <= held < 2 * made["sequences"] * 256


def test_too_little_is_refused_and_a_wrong_text_is_named(folder):
    with pytest.raises(QuantbentoError, match="the 1 calibration texts have fewer than 256 tokens together"):
        generation.sequences(TextGeneration, folder, [TEXT], None)
    with pytest.raises(InvalidInput, match="item 1: must not be empty"):
        generation.windows(TextGeneration, folder, [TEXT, " "], None)


def test_the_engines_context_is_limited_only_where_the_models_is_long():
    assert generation.engine(131_072) == {"max_model_len": generation.LONGEST_CONTEXT}
    assert generation.engine(2048) == generation.engine(None) == {}
