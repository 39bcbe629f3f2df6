"""The task follows from what tasks declare, and what is missing for it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.making.drafting import task_choice
from quantbento.making.drafting.facts import Facts
from quantbento.making.drafting.named import Named
from quantbento.recipe import ModelSpec
from quantbento.tasks.text_classification import TextClassification

NAMED = Named(ModelSpec(id="owner/model"), "model")
TEXT, IMAGES = frozenset({"config.json", "tokenizer.json"}), frozenset({"config.json", "preprocessor_config.json"})


def chosen(folder: Path, architecture: str, files: frozenset[str] = TEXT, tag: str | None = None, **config) -> str:
    model_type = {"model_type": config.pop("model_type", "bert")}
    found = Facts(folder, model_type | config, architecture, pipeline_tag=tag, files=files)
    return task_choice.for_folder(NAMED, found, None).name


@pytest.mark.parametrize(
    ("architecture", "config", "files", "task"),
    [
        ("BertModel", {}, TEXT, "feature-extraction"),
        ("BertForSequenceClassification", {}, TEXT, "text-classification"),
        ("BertForSequenceClassification", {"id2label": {"0": "LABEL_0"}}, TEXT, "text-ranking"),
        (
            "BertForSequenceClassification",
            {"id2label": {"0": "LABEL_0"}, "problem_type": "regression"},
            TEXT,
            "text-classification",
        ),
        ("BertForTokenClassification", {}, TEXT, "token-classification"),
        ("LlamaForCausalLM", {"model_type": "llama"}, TEXT, "text-generation"),
        ("ViTForImageClassification", {"model_type": "vit"}, IMAGES, "image-classification"),
        ("ViTModel", {"model_type": "vit", "num_channels": 3}, IMAGES, "image-feature-extraction"),
        ("CLIPModel", {"model_type": "clip", "vision_config": {}}, TEXT | IMAGES, "image-feature-extraction"),
    ],
)
def test_it_follows_from_the_class_a_model_was_saved_from(tmp_path, architecture, config, files, task):
    assert chosen(tmp_path, architecture, files, **config) == task


def test_sentence_transformers_files_win_over_the_class(tmp_path):
    assert chosen(tmp_path, "Qwen3ForCausalLM", model_type="qwen3") == "text-generation"
    (tmp_path / "modules.json").write_text("[]")
    assert chosen(tmp_path, "Qwen3ForCausalLM", model_type="qwen3") == "feature-extraction"
    (tmp_path / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    assert chosen(tmp_path, "Qwen3ForCausalLM", model_type="qwen3") == "text-generation"


def test_a_class_that_comes_with_the_model_says_what_it_is(tmp_path):
    config = {"auto_map": {"AutoModelForCausalLM": "modeling.Own"}}
    assert chosen(tmp_path, "Own", model_type="own", **config) == "text-generation"


def test_of_two_tasks_that_take_it_the_model_card_decides(tmp_path, monkeypatch):
    class Sentiment(TextClassification):
        name = "sentiment"

    monkeypatch.setitem(registry.TASKS, "sentiment", "tests.making.drafting.test_task_choice:SENTIMENT")
    globals()["SENTIMENT"] = Sentiment
    assert chosen(tmp_path, "BertForSequenceClassification") == "text-classification"
    assert chosen(tmp_path, "BertForSequenceClassification", tag="sentiment") == "sentiment"


@pytest.mark.parametrize(
    ("files", "told"),
    [(IMAGES, "there is no tokenizer in "), (frozenset({"config.json"}), "there is no tokenizer in ")],
    ids=["images", "nothing"],
)
def test_what_is_missing_is_told(tmp_path, files, told):
    with pytest.raises(QuantbentoError, match=told):
        chosen(tmp_path, "BertForSequenceClassification", files)
    with pytest.raises(QuantbentoError, match=r"there is no processor in .* transformers\.AutoProcessor"):
        chosen(tmp_path, "ViTForImageClassification", TEXT, model_type="vit")


def test_a_task_can_be_asked_for(tmp_path, tiny_classifier):
    folder = tmp_path / "model"
    shutil.copytree(tiny_classifier, folder)
    found = Facts(folder, {"model_type": "bert"}, "BertForMaskedLM", files=TEXT)
    assert task_choice.for_folder(NAMED, found, "feature-extraction").name == "feature-extraction"
    with pytest.raises(QuantbentoError, match="--task tensor takes no folder in hub format; tasks that do are "):
        task_choice.for_folder(NAMED, found, "tensor")
    with pytest.raises(QuantbentoError, match="unknown task 'tensors'; did you mean 'tensor'"):
        task_choice.for_arrays("onnx", "tensors")
    with pytest.raises(QuantbentoError, match="--task text-generation takes no ONNX file; tasks that do are 'tensor'"):
        task_choice.for_arrays("onnx", "text-generation")
    assert task_choice.for_arrays("onnx", None).name == "tensor"
