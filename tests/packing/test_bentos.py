"""A Bento is found in BentoML's store, or the error names the nearest."""

from __future__ import annotations

import dataclasses

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.packing.bentos import find, runtime_of
from quantbento.store.bento_description import BentoDescription
from tests.built_bento import save_stand_in
from tests.conftest import model_store
from tests.stored_bento import write_bento


@pytest.fixture
def store(tmp_path):
    with model_store(tmp_path) as home:
        yield home / "bentos"


@pytest.mark.parametrize(
    ("tag", "found"),
    [("my-encoder", "my-encoder:v2"), ("my-encoder:latest", "my-encoder:v2"), ("my-encoder:v1", "my-encoder:v1")],
)
def test_a_name_is_its_latest_version(store, tag, found):
    write_bento(store, "my-encoder:v1")
    write_bento(store, "my-encoder:v2")
    assert str(find(tag).tag) == found


@pytest.mark.parametrize(
    ("tag", "near"),
    [
        ("my-encodr", "; did you mean 'my-encoder'?"),
        ("my-encoder:v9", "; did you mean 'my-encoder:v1'?"),
        ("My Encoder!", "; did you mean 'my-encoder'?"),
        ("something-else", ""),
    ],
    ids=["name", "version", "impossible-name", "nothing-near"],
)
def test_an_unknown_one_is_told_with_the_nearest(store, tag, near):
    write_bento(store)
    with pytest.raises(QuantbentoError) as raised:
        find(tag)
    assert str(raised.value) == (
        f"no Bento {tag!r} in the store{near} (stored: my-encoder). Build one with: quantbento build"
    )


def test_of_many_names_eight_are_told(store):
    for letter in "abcdefghij":
        write_bento(store, f"{letter}:v1")
    with pytest.raises(QuantbentoError, match=r"\(stored: a, b, c, d, e, f, g, h \.\.\.\)"):
        find("none")


def test_an_empty_store_says_so(store):
    with pytest.raises(QuantbentoError, match=r"no Bento 'a' in the store \(the store has no Bento\)"):
        find("a")


def test_a_damaged_one_is_no_traceback(store):
    write_bento(store)
    (store / "my-encoder" / "v1" / "bento.yaml").unlink()
    with pytest.raises(QuantbentoError, match=r"Bento 'my-encoder' cannot be read: .* bentoml list"):
        find("my-encoder")
    with pytest.raises(QuantbentoError, match="no Bento 'other'"):
        find("other")


@pytest.mark.parametrize(
    ("label", "model", "runtime"),
    [
        ("transformers", "mine", "transformers"),
        (None, "mine", "vllm"),
        ("of-nobodys", "mine", "vllm"),
        (None, "gone:0a1b", None),
        (None, None, None),
    ],
    ids=["label", "model", "label-of-no-runtime", "model-elsewhere", "no-model"],
)
def test_the_runtime_is_the_labels_or_the_models(store, tmp_path, label, model, runtime):
    stored = save_stand_in("mine", "text-generation", "vllm", tmp_path / "artifact")
    write_bento(store, "my-llm:v1", model=stored.tag if model == "mine" else str(model), runtime=label)
    bento = BentoDescription.read(store / "my-llm" / "v1")
    found = runtime_of(bento if model else dataclasses.replace(bento, models=()))
    assert found is (registry.runtime(runtime) if runtime else None)
