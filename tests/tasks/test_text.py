"""Texts become the token ids the model's own tokenizer gives, cut, padded and refused where they must be."""

import json
import shutil

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.recipe import ModelSpec
from quantbento.tasks.source import SourceModel
from quantbento.tasks.text import TextInputs, TextOptions, TextTask, read_json
from tests.jobs import load_source

TEXTS = ["the film was good", "a very dull plot and a poor song", "unheard words"]


@pytest.fixture(scope="module")
def source(tiny_encoder):
    return load_source(ModelSpec(path=tiny_encoder), "feature-extraction")


@pytest.fixture(scope="module")
def inputs(source):
    return TextInputs.create(source, TextOptions())


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    """A copy of the model's folder, which a test may change."""
    return shutil.copytree(tiny_encoder, tmp_path / "model")


def test_ids_are_those_of_the_transformers_tokenizer(inputs, tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    batch = inputs.collate([inputs.encode(text) for text in TEXTS])
    expected = tokenizer(TEXTS, padding=True, return_tensors="np")
    assert set(batch) == set(expected) == {"input_ids", "attention_mask", "token_type_ids"}
    for name, values in expected.items():
        np.testing.assert_array_equal(batch[name], values)


def test_padding_uses_the_pad_token_for_ids_and_zero_for_the_mask(inputs):
    other = TextInputs(inputs._json, inputs.names, pad_id=7, max_length=32)
    batch = other.collate([other.encode("good"), other.encode("good film")])
    assert batch["input_ids"][0, -1] == 7
    assert batch["attention_mask"][0, -1] == 0
    assert batch["token_type_ids"][0, -1] == 0
    assert batch["input_ids"].dtype == np.int64


@pytest.mark.parametrize(
    ("option", "sentence_bert", "tokenizer", "expected"),
    [(9, 32, 64, 9), (None, 32, 64, 32), (None, None, 48, 48), (None, None, None, 64)],
    ids=["recipe", "sentence-transformers", "tokenizer", "positions"],
)
def test_the_nearest_limit_wins(source, folder, option, sentence_bert, tokenizer, expected):
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": sentence_bert}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("model_max_length")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config | ({"model_max_length": tokenizer} if tokenizer else {}))
    )
    inputs = TextInputs.create(SourceModel(source.module, folder), TextOptions(max_length=option))
    assert inputs.max_length == expected
    assert len(inputs.encode("good " * 200)["input_ids"]) == expected


def test_more_tokens_than_the_model_has_positions_are_refused(source):
    with pytest.raises(QuantbentoError, match=r"max_length 65 is more than the model's 64 positions"):
        TextInputs.create(source, TextOptions(max_length=65))


def test_a_pair_is_cut_as_transformers_cuts_it(source, tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    inputs = TextInputs.create(source, TextOptions(max_length=12))
    queries = ["the film", "was it good", "the film " * 9]
    documents = ["it was good", "the film was a very " * 9, "the book " * 4]
    batch = inputs.collate([inputs.encode(*pair) for pair in zip(queries, documents, strict=True)])
    expected = tokenizer(queries, documents, padding=True, truncation=True, max_length=12, return_tensors="np")
    for name, values in expected.items():
        np.testing.assert_array_equal(batch[name], values)
    assert batch["token_type_ids"].max() == 1


def test_a_prompt_is_put_before_every_text(source, inputs):
    with_prompt = TextInputs.create(source, TextOptions(), prompt="the book: ")
    assert with_prompt.encode("good") == inputs.encode("the book: good")
    assert with_prompt.encode("good") != inputs.encode("good")


def test_a_saved_tokenizer_reads_back_the_same(source, tmp_path):
    inputs = TextInputs.create(source, TextOptions(max_length=5), prompt="a ")
    again = TextInputs.load(tmp_path, json.loads(json.dumps(inputs.save(tmp_path))))
    assert [again.encode(text) for text in TEXTS] == [inputs.encode(text) for text in TEXTS]
    assert (again.max_length, again.prompt) == (5, "a ")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (3, "must be a string, not int"),
        (None, "must be a string, not NoneType"),
        ("", "must not be empty"),
        (" \n\t", "must not be empty"),
        ("bad \ud800 half", "lone surrogate at character 4"),
    ],
    ids=["number", "none", "empty", "blank", "surrogate"],
)
def test_what_is_no_text_is_refused(item, message):
    with pytest.raises(InvalidInput, match=message):
        TextTask.check(None, item)


def test_a_module_without_a_folder_is_refused(source):
    with pytest.raises(QuantbentoError, match="needs a model in hub format with its tokenizer"):
        TextInputs.create(SourceModel(module=source.module), TextOptions())


def test_a_tokenizer_without_a_padding_token_is_refused(source, folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config | {"pad_token": None, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    with pytest.raises(QuantbentoError, match="no padding token; set pad_token"):
        TextInputs.create(SourceModel(source.module, folder), TextOptions())


def test_a_damaged_configuration_file_is_named(tmp_path):
    assert read_json(tmp_path / "missing.json") == {}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(QuantbentoError, match=r"config\.json is not valid JSON"):
        read_json(tmp_path / "config.json")
