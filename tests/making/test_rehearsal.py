"""A rehearsal finds the step that would fail, and leaves the store and the reports as they are."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from quantbento import cli
from quantbento.core.errors import RecipeError
from quantbento.core.progress import Silent
from quantbento.making import rehearsal
from quantbento.making.rehearsal import rehearse
from quantbento.quantizers.llm.autoround import AutoRound
from quantbento.quantizers.onnx.dynamic import OnnxDynamic
from tests.conftest import ROOT, labelled_texts
from tests.store.test_models import tree
from tests.tiny_llama import write_tiny_llama


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def classifier(tiny_classifier, tmp_path, bento_home, monkeypatch) -> dict:
    """A recipe for a classifier with the least work: one variant, in PyTorch."""
    monkeypatch.chdir(tmp_path)
    texts, labels = labelled_texts(20, seed=1)
    rows = [{"text": t, "label": y} for t, y in zip(texts, labels, strict=True)]
    write(tmp_path / "rows.jsonl", rows)
    return {
        "schema_version": 1,
        "name": "tiny",
        "task": "text-classification",
        "model": {"path": str(tiny_classifier)},
        "evaluation": {"path": "rows.jsonl"},
        "gates": {"min": {"accuracy": 1.0}, "min_speedup": 1000},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    }


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
def test_gates_are_not_judged_and_nothing_of_the_users_is_touched(classifier, bento_home, tmp_path):
    before = tree(bento_home)
    found = rehearse(classifier)
    assert (found.ready, found.rehearsed, found.failures) == (True, ["int8"], [])
    assert tree(bento_home) == before
    assert {path.name for path in tmp_path.iterdir()} == {"bentoml", "rows.jsonl"}


@pytest.mark.slow
def test_the_step_that_fails_is_named_and_others_go_on(classifier, monkeypatch):
    def fails(self, job, options, folder):
        from quantbento.core.errors import QuantbentoError

        raise QuantbentoError("no such layer")

    monkeypatch.setattr(OnnxDynamic, "quantize", fails)
    classifier["variants"].append({"name": "onnx", "quantizer": "onnx-dynamic"})
    found = rehearse(classifier)
    assert not found.ready
    assert found.rehearsed == ["int8"]
    assert [(f.step, f.reason) for f in found.failures] == [("onnx: quantize", "no such layer")]


def test_a_sample_far_behind_the_first_is_looked_at(classifier, tmp_path):
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    write(tmp_path / "rows.jsonl", [*rows, {"text": " ", "label": 1}])
    [failure] = rehearse(classifier).failures
    assert failure.step == "int8: load again, check every sample"
    assert failure.reason == "item 20: must not be empty"


def test_a_label_far_behind_the_first_is_looked_at(classifier, tmp_path):
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    write(tmp_path / "rows.jsonl", [*rows, {"text": "a film", "label": "neutral"}])
    [failure] = rehearse(classifier).failures
    assert failure.step == "load model and samples"
    assert "sample labels ['neutral'] are none of the model's" in failure.reason


def test_weights_that_are_missing_or_do_not_fit_are_found(classifier, tiny_encoder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(classifier["model"]["path"], model)
    shutil.copyfile(tiny_encoder / "model.safetensors", model / "model.safetensors")  # has no head
    classifier["model"] = {"path": str(model)}
    [failure] = rehearse(classifier).failures
    assert failure.step == "load the weights"
    assert "has no weights for classifier.bias, classifier.weight" in failure.reason
    (model / "model.safetensors").unlink()
    [failure] = rehearse(classifier).failures
    assert f"there are no weights in {model}" in failure.reason


def test_everything_wrong_with_the_recipe_comes_first_in_one_list(classifier):
    classifier["variants"][0]["options"] = {"exclud": ["a"]}
    classifier["custom_objects"] = {"preprocess": "no_such_module:f"}
    with pytest.raises(RecipeError, match="2 problems") as caught:
        rehearse(classifier)
    assert any("no_such_module" in problem for problem in caught.value.problems)


def test_a_hub_that_cannot_be_reached_is_in_that_list(classifier):
    classifier["model"] = {"id": "tiny/gone"}
    classifier["evaluation"] = {"factory": "no_such_module:f"}
    with pytest.raises(RecipeError, match="2 problems") as caught:
        rehearse(classifier)
    assert any("the hub model 'tiny/gone'" in problem for problem in caught.value.problems)


@pytest.mark.slow
def test_one_variant_can_be_chosen(classifier):
    classifier["variants"].append({"name": "onnx", "quantizer": "onnx-dynamic"})
    assert rehearse(classifier, variants=["int8"]).rehearsed == ["int8"]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["the-same-width", "narrower"])
def test_an_adapter_is_merged_where_the_small_model_is_as_wide(classifier, tmp_path, monkeypatch, which):
    from tests.making.drafting.models import write_adapter

    adapter = write_adapter(tmp_path / "lora", Path(classifier["model"]["path"]), "SEQ_CLS")
    classifier["model"]["adapter"] = str(adapter)
    merged = []
    from quantbento.inputs import modules

    merge = modules.merge_adapter
    monkeypatch.setattr(
        modules, "merge_adapter", lambda module, given: merged.append(given is not None) or merge(module, given)
    )
    if which == "narrower":
        monkeypatch.setattr(rehearsal.small_model, "MOST_PARAMETERS", 1000)
    told = Told()
    assert rehearse(classifier, progress=told).ready
    assert merged == [True, which == "the-same-width"]  # with the real weights, and with the small model
    assert any("merging the adapter" in line for line in told.lines) is (which == "narrower")


@pytest.mark.slow
def test_a_hub_model_is_rehearsed_without_its_weights(classifier, tmp_path, monkeypatch):
    import huggingface_hub.constants

    commit = "a" * 40
    snapshot = tmp_path / "hub" / "models--tiny--classifier" / "snapshots" / commit
    shutil.copytree(classifier["model"]["path"], snapshot)
    (snapshot / "model.safetensors").unlink()
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    classifier["model"] = {"id": "tiny/classifier"}
    told = Told()
    assert rehearse(classifier, progress=told).ready
    assert "not rehearsed: fetching the weights of tiny/classifier" in told.lines


# Language models


@pytest.fixture
def language_model(tmp_path, bento_home, monkeypatch) -> dict:
    monkeypatch.chdir(tmp_path)
    folder = write_tiny_llama(tmp_path / "llama")
    (tmp_path / "texts.txt").write_text("\n".join([f"def f_{i}(x): return x + {i}" for i in range(400)]))
    return {
        "schema_version": 1,
        "name": "tiny-llama",
        "task": "text-generation",
        "task_options": {"window": 64, "windows": 8},
        "model": {"path": str(folder)},
        "evaluation": {"path": "texts.txt"},
        "variants": [{"name": "nf4", "quantizer": "bnb-nf4"}],
    }


def test_a_language_model_is_rehearsed_in_a_small_one(language_model, monkeypatch):
    seen = {}
    from quantbento.quantizers.llm.bitsandbytes import Nf4

    quantize = Nf4.quantize

    def look(self, job, options, folder):
        config = json.loads((job.source.folder / "config.json").read_text())
        seen.update(layers=config["num_hidden_layers"], options=job.task.options)
        return quantize(self, job, options, folder)

    monkeypatch.setattr(Nf4, "quantize", look)
    found = rehearse(language_model)
    assert (found.failures, found.rehearsed) == ([], ["nf4"])
    assert seen["layers"] == 2
    assert (seen["options"].window, seen["options"].windows, seen["options"].new_tokens) == (32, 2, 4)


def test_a_model_in_float32_is_converted_and_leaves_nothing_behind(language_model, tmp_path, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM

    folder, temporary = Path(language_model["model"]["path"]), tmp_path / "temporary"
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).save_pretrained(folder)
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert rehearse(language_model).ready
    assert list(temporary.iterdir()) == []


def test_a_method_whose_environment_is_not_made_is_left_out_with_a_note(language_model, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))
    language_model["calibration"] = {"path": "texts.txt", "sequences": 2, "sequence_length": 64}
    language_model["variants"] = [{"name": "gptq", "quantizer": "gptq"}]
    told = Told()
    found = rehearse(language_model, progress=told)
    assert found.ready
    assert found.rehearsed == []
    assert any(line.startswith("gptq: not rehearsed: an environment of its own") for line in told.lines)
    assert not (tmp_path / "cache").exists()


def test_options_that_take_time_are_cut():
    options = AutoRound.Options(iterations=500, group_size=64)
    least = rehearsal._least(options, AutoRound.quickest)
    assert (least.iterations, least.group_size) == (1, 64)


@pytest.mark.vllm
def test_a_method_that_calibrates_for_vllm(language_model):
    language_model["calibration"] = {"path": "texts.txt", "sequences": 8, "sequence_length": 64}
    language_model["variants"] = [{"name": "autoround", "quantizer": "autoround"}]
    found = rehearse(language_model)
    assert (found.failures, found.rehearsed) == ([], ["autoround"])


# The command


@pytest.mark.slow
def test_a_recipe_of_the_project_is_ready(bento_home, capsys):
    assert cli.save_models([str(ROOT / "configs/two-moons.yaml"), "--rehearse"]) == 0
    assert capsys.readouterr().out.startswith("ready: two-moons (torch-int8, onnx-int8; ")


def test_what_is_not_ready_is_exit_code_2(classifier, tmp_path, capsys):
    import yaml

    write(tmp_path / "rows.jsonl", [{"text": "a film", "label": "neutral"}])
    Path("recipe.yaml").write_text(yaml.safe_dump(classifier))
    assert cli.save_models(["recipe.yaml", "--rehearse"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith("not ready: load model and samples\n")
    assert "error: load model and samples: sample labels ['neutral']" in output.err
