"""What is written and what is not, and what a recipe says of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from quantbento import cli
from quantbento.core import machine
from quantbento.core.errors import QuantbentoError, RecipeError
from quantbento.making import plan
from quantbento.making.drafting.draft import draft
from quantbento.making.drafting.request import Request
from quantbento.quantizers.torch.dynamic import TorchDynamic
from tests.conftest import labelled_texts
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.usefixtures("bento_home")


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("llama") / "tiny-llama")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe_of(text: str) -> dict:
    return yaml.safe_load(text)


# Where it is written


def test_it_lies_in_configs_where_there_is_such_a_folder(here, tiny_classifier):
    request = Request(str(tiny_classifier), name="mine")
    assert draft(request, write=False).path == Path("mine.yaml")
    assert list(here.iterdir()) == [here / "bentoml"]
    (here / "configs").mkdir()
    done = draft(request)
    assert done.path == Path("configs/mine.yaml")
    assert done.placeholders["evaluation"] == Path("configs/mine-placeholder.jsonl")
    assert recipe_of(done.path.read_text())["evaluation"]["path"] == "mine-placeholder.jsonl"


def test_nothing_is_replaced_without_being_asked_and_samples_never_are(here, tiny_classifier):
    request = Request(str(tiny_classifier), output=Path("a.yaml"), name="a")
    samples = draft(request).placeholders["evaluation"]
    with pytest.raises(QuantbentoError, match=r"a\.yaml exists; --force replaces it, --output names another"):
        draft(request)
    samples.write_text('{"text": "my own"}\n')
    Path("a.yaml").write_text("mine")
    forced = Request(str(tiny_classifier), output=Path("a.yaml"), name="a", force=True)
    with pytest.raises(QuantbentoError, match=r"a-placeholder\.jsonl.* exists already; name it with --evaluation"):
        draft(forced)
    assert (samples.read_text(), Path("a.yaml").read_text()) == ('{"text": "my own"}\n', "mine")
    for file in here.glob("a-placeholder*"):
        file.unlink()
    assert draft(forced).text == Path("a.yaml").read_text()


def test_paths_inside_the_current_folder_are_relative_to_the_recipe_and_others_whole(here, tiny_classifier):
    shutil.copytree(tiny_classifier, "models/mine")
    Path("texts.txt").write_text("a good film\na bad film\n")
    recipe = recipe_of(draft(Request("models/mine", evaluation="texts.txt", output=Path("recipes/a.yaml"))).text)
    assert recipe["model"]["path"] == "../models/mine"
    assert recipe["evaluation"] == {"path": "../texts.txt", "count": 2}
    outside = recipe_of(draft(Request(str(tiny_classifier), output=Path("recipes/b.yaml"))).text)
    assert outside["model"]["path"] == str(tiny_classifier)


def test_a_file_that_cannot_be_written_is_told(here, tiny_classifier):
    Path("taken").touch()
    with pytest.raises(QuantbentoError, match=r"could not be written: .*; --output names another place"):
        draft(Request(str(tiny_classifier), output=Path("taken/a.yaml")))


# Samples that the user names


def test_columns_count_and_labels_come_from_the_file(here, tiny_classifier):
    texts, labels = labelled_texts(40, seed=1)
    rows = [
        {"id": number, "review": text, "stars": ["negative", "positive"][label]}
        for number, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    Path("held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = draft(Request(str(tiny_classifier), evaluation="held_out.jsonl", level="99.9", output=Path("a.yaml")))
    recipe = recipe_of(done.text)
    assert recipe["evaluation"] == {
        "path": "held_out.jsonl",
        "columns": {"text": "review", "label": "stars"},
        "count": 40,
    }
    assert recipe["gates"] == {"min_recovery": {"accuracy": 0.999}}
    assert "evaluation" not in done.placeholders
    assert not any("evaluation samples are placeholders" in note for note in plan.check(done.path, None)[1])


def test_names_that_are_not_the_models_ask_for_labels(here, tiny_classifier):
    Path("held_out.csv").write_text("text,label\na good film,pos\na bad film,neg\n")
    request = {"source": str(tiny_classifier), "evaluation": "held_out.csv"}
    with pytest.raises(QuantbentoError, match=r"has the label 'neg', which is none of the model's: .* add --labels"):
        draft(Request(**request), write=False)
    recipe = recipe_of(draft(Request(**request, labels=["neg", "pos"]), write=False).text)
    assert recipe["task_options"] == {"labels": ["neg", "pos"]}


def test_labels_for_a_task_without_classes_are_refused(here, tiny_encoder):
    with pytest.raises(QuantbentoError, match="--labels would have no effect: feature-extraction names no classes"):
        draft(Request(str(tiny_encoder), labels=["a"]), write=False)


@pytest.mark.slow
def test_what_is_measured_on_placeholders_does_not_look_like_a_proof(here, tiny_classifier, capsys):
    import bentoml

    done = draft(Request(str(tiny_classifier), name="mine"))
    assert cli.save_models([str(done.path), "--variant", "onnx-int8", "--output", "reports"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("the evaluation samples are plac")]
    assert len(told) == 2  # before the run, and before the table
    assert bentoml.models.get("mine-onnx-int8").info.labels["samples"] == "placeholder"


# What this machine allows


def test_a_quantizer_whose_package_is_missing_is_left_out_with_the_command(here, tiny_classifier, monkeypatch):
    every = machine.missing_packages
    monkeypatch.setattr(machine, "missing_packages", lambda names: [n for n in names if n == "onnx"] or every(names))
    text = draft(Request(str(tiny_classifier)), write=False).text
    assert "onnx-dynamic" not in [v["quantizer"] for v in recipe_of(text)["variants"]]
    left_out = " ".join(line.strip("# ") for line in text.splitlines() if line.startswith("#"))
    assert "onnx-dynamic needs onnx, not installed here; run: pip install 'quantbento[quantize]'" in left_out
    assert "rtn" in left_out.rpartition("Left out:")[2]
    assert left_out.endswith("for other kinds of models")


def test_without_any_quantizer_nothing_is_written_and_every_reason_told(here, tiny_classifier, monkeypatch):
    loads = ("torch", "transformers", "tokenizers")
    monkeypatch.setattr(TorchDynamic, "modules", ("cloudpickle",))
    monkeypatch.setattr(machine, "missing_packages", lambda names: [n for n in names if n not in loads])
    with pytest.raises(RecipeError, match="no quantizer can be used for it here") as caught:
        draft(Request(str(tiny_classifier)))
    assert any("pip install" in problem for problem in caught.value.problems)
    assert list(here.glob("*.yaml")) == []


def test_7_bit_weights_on_a_cpu_that_saturates(here, tiny_classifier, monkeypatch):
    flags = {"avx2", "avx512_vnni"}
    monkeypatch.setattr(machine, "_cpu", lambda: ("this one", flags))
    assert "options" not in _variant(draft(Request(str(tiny_classifier)), write=False).text, "onnx-dynamic")
    flags.discard("avx512_vnni")
    text = draft(Request(str(tiny_classifier)), write=False).text
    assert _variant(text, "onnx-dynamic")["options"] == {"reduce_range": True}
    assert "saturate" in text


def _variant(text: str, quantizer: str) -> dict:
    return next(v for v in recipe_of(text)["variants"] if v["quantizer"] == quantizer)


# Language models


def test_a_language_model_gets_windows_and_sequences_that_its_texts_fill(here, llama):
    done = draft(Request(str(llama), output=Path("a.yaml")))
    resolved, notes = plan.check(done.path, None)
    recipe = resolved.recipe
    assert recipe.task == "text-generation"
    assert {"rtn", "autoround", "bnb-nf4"} <= {v.name for v in recipe.variants}
    assert recipe.gates.min_recovery == {"perplexity": 0.99}
    assert set(done.placeholders) == {"evaluation", "calibration"}
    assert recipe.calibration.sequences * recipe.calibration.sequence_length >= 4096
    assert any("needs about" in note for note in notes)
    assert done.needs == [note for note in notes if "GB of memory" in note]


def test_few_texts_make_few_windows(here, llama):
    Path("a.txt").write_text("def f(x):\n    return x + 1\n" * 60)
    recipe = recipe_of(draft(Request(str(llama), evaluation="a.txt"), write=False).text)
    assert recipe["task_options"]["windows"] < 32
    Path("a.txt").write_text("too short")
    with pytest.raises(QuantbentoError, match="the 1 evaluation texts have fewer than 256 tokens together"):
        draft(Request(str(llama), evaluation="a.txt"), write=False)


def test_group_sizes_divide_the_layers_or_the_quantizer_is_left_out(here, llama):
    narrow = _with_config(llama, here / "narrow", intermediate_size=576)  # 64 divides it, 128 does not
    text = draft(Request(str(narrow)), write=False).text
    assert _variant(text, "rtn")["options"] == {"group_size": 64}
    odd = _with_config(llama, here / "odd", intermediate_size=500)
    text = draft(Request(str(odd)), write=False).text
    assert "rtn" not in [v["quantizer"] for v in recipe_of(text)["variants"]]
    assert "does not divide the" in " ".join(text.split())


def test_a_long_context_is_cut_for_an_engine_that_is_there(here, llama, monkeypatch):
    long = _with_config(llama, here / "long", max_position_embeddings=131072)
    recipe = recipe_of(draft(Request(str(long)), write=False).text)
    assert recipe["task_options"]["engine"] == {"max_model_len": 4096}
    every = machine.missing_packages
    monkeypatch.setattr(machine, "missing_packages", lambda names: [n for n in names if n == "vllm"] or every(names))
    recipe = recipe_of(draft(Request(str(long)), write=False).text)
    assert "engine" not in recipe.get("task_options", {})
    assert {v["quantizer"] for v in recipe["variants"]} == {"torch-dynamic", "bnb-nf4", "bnb-int8"}


def test_a_machine_without_memory_for_it_is_told_before_anything_is_written(here, llama, monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1_000_000_000)
    with pytest.raises(RecipeError, match="quantizing needs about 2 GB of memory; this machine has 1 GB"):
        draft(Request(str(llama)))
    assert list(here.glob("*.yaml")) == []


def _with_config(model: Path, folder: Path, **changes: int) -> Path:
    """The model as its configuration would be with other sizes; weights are not read."""
    folder.mkdir()
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, folder / file.name)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder
