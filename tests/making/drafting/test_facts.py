"""A model's configuration, its files and the headers of its weights; a hub model's without its weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
from safetensors.numpy import load_file

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.source import NamedModel
from quantbento.making.drafting import facts
from quantbento.making.drafting.draft import draft
from quantbento.making.drafting.named import find
from quantbento.making.drafting.request import Request

COMMIT = "a" * 40


def read(source: object) -> facts.Facts:
    named = find(str(source))
    return facts.read(named, NamedModel(named.spec))


def test_weights_are_counted_by_their_headers(tiny_classifier):
    found = read(tiny_classifier)
    weights = load_file(tiny_classifier / "model.safetensors")
    assert found.parameters == sum(array.size for array in weights.values())
    assert (found.architecture, found.dtype) == ("BertForSequenceClassification", "float32")
    assert found.labels == ["negative", "positive"]
    assert found.has_tokenizer and not found.has_processor
    assert str(found).startswith("BertForSequenceClassification, 0.0")


@pytest.mark.parametrize(
    ("card", "tag"),
    [
        ("---\npipeline_tag: text-ranking\n---\n# A model", "text-ranking"),
        ("# A model\n---\npipeline_tag: text-ranking\n", None),
        ("---\n- a\n---\n", None),
        ("---\n{\n---\n", None),
        (None, None),
    ],
    ids=["tag", "no-metadata", "list", "broken", "no-card"],
)
def test_a_model_card_says_what_it_is_for(tiny_encoder, tmp_path, card, tag):
    folder = tmp_path / "model"
    shutil.copytree(tiny_encoder, folder)
    if card is not None:
        (folder / "README.md").write_text(card)
    assert read(folder).pipeline_tag == tag


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", b"{", r"config\.json is not valid JSON"),
        ("config.json", b"[]", r"config\.json holds a list, not an object"),
        ("model.safetensors", b"\x08", "is no safetensors file, or damaged"),
        ("model.safetensors", b"\x01\x00\x00\x00\x00\x00\x00\x00[", "is no safetensors file, or damaged"),
    ],
    ids=["broken", "no-object", "short", "no-header"],
)
def test_a_damaged_file_is_one_sentence(tiny_encoder, tmp_path, name, content, told):
    folder = tmp_path / "model"
    shutil.copytree(tiny_encoder, folder)
    (folder / name).write_bytes(content)
    with pytest.raises(QuantbentoError, match=told):
        read(folder)


@pytest.fixture
def hub(tmp_path, monkeypatch, tiny_classifier) -> str:
    """A hub model in the local cache, as fetching its small files leaves it: without weights."""
    snapshot = tmp_path / "hub" / "models--tiny--classifier" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file in tiny_classifier.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, snapshot / file.name)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return "tiny/classifier"


def test_a_hub_model_is_drafted_without_its_weights(hub, tmp_path, bento_home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("texts.jsonl").write_text(json.dumps({"text": "a good film", "label": "positive"}) + "\n")
    done = draft(Request(hub, evaluation="texts.jsonl", revision="main"))
    assert "id: tiny/classifier" in done.text
    assert "revision: main" in done.text
    assert "text-classification" in done.summary
    assert "parameters" not in done.summary  # no header could be fetched


def test_the_headers_of_a_hub_model_are_fetched(hub, monkeypatch):
    class Api(huggingface_hub.HfApi):
        def get_safetensors_metadata(self, repo_id, *, revision=None, **more):
            assert (repo_id, revision) == (hub, COMMIT)
            return type("Metadata", (), {"parameter_count": {"BF16": 12_000_000, "F32": 10}})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    found = read(hub)
    assert (found.parameters, found.dtype) == (12_000_010, "bfloat16")
