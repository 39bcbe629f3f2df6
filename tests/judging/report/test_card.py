"""The model card is one that the hub's own library reads, and holds only what was measured. The manifest hashes it."""

from __future__ import annotations

import os

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from quantbento import store
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.judging.report import card
from tests.judging.report.written import full_precision, variant
from tests.store.test_models import write_artifact

LOCAL = {"file": "sentences.txt", "sha256": "c" * 64}
HUB = {"dataset": "glue", "config": "sst2", "split": "validation"}


def content(**row) -> dict:
    return {
        "variant": {**variant(), "intervals": {"mean_cosine": {"value": [0.985, 0.995]}}, **row},
        "baseline": full_precision(),
        "environment": {"cpu": "a CPU", "threads": 2, "python": "3.11"},
        "recipe": {"name": "demo", "task": "feature-extraction", "description": "A *demo*\n# of it"},
        "source": {"id": "owner/name", "revision": "abc"},
    }


def written(folder, samples=None, **row) -> ModelCard:
    card.write(folder, "demo-int8", content(**row), samples or LOCAL)
    return ModelCard.load(folder / "README.md")


def test_the_front_matter_says_what_it_is_and_what_was_measured(tmp_path):
    data = written(tmp_path, HUB).data
    assert (data.model_name, data.pipeline_tag, data.library_name) == ("demo-int8", "feature-extraction", "onnx")
    assert data.base_model == "owner/name"
    assert data.to_dict()["base_model_relation"] == "quantized"
    [result] = data.eval_results
    assert (result.metric_type, result.metric_value) == ("mean_cosine", 0.99)
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("glue", "sst2", "validation")


def test_the_results_file_is_the_hubs(tmp_path):
    written(tmp_path)
    [entry] = parse_eval_result_entries(yaml.safe_load((tmp_path / card.RESULTS).read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("sentences.txt", "mean_cosine", 0.99)
    assert entry.notes == f"onnx-dynamic (int8-dynamic) in onnx; samples: sentences.txt, sha256 {'c' * 64}"


def test_the_text_has_figures_intervals_and_gates(tmp_path):
    text = written(tmp_path).text
    assert "| mean cosine | 0.99 | 0.985 to 0.995 | 1 | 99.00% |" in text
    assert "| min mean cosine | 0.98 | 0.99 | passed |" in text
    assert "24.0 MB (25% of full precision)" in text
    assert "A \\*demo\\* \\# of it" in text


def test_no_gates_and_placeholders_are_said(tmp_path):
    text = written(tmp_path, {**LOCAL, "placeholder": True}, gates=[]).text
    assert "It has no gates: nothing was asked of it." in text
    assert "these figures prove nothing" in text


def test_a_task_that_the_hub_does_not_know_is_left_out(tmp_path):
    made = content()
    made["recipe"]["task"] = "tensor"
    made["source"] = None
    card.write(tmp_path, "demo", made, LOCAL)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.pipeline_tag is None
    assert data.base_model is None


def test_a_card_that_is_a_link_elsewhere_is_replaced_there_only(tmp_path):
    (tmp_path / "source.md").write_text("the source model's")
    (tmp_path / "artifact").mkdir()
    os.link(tmp_path / "source.md", tmp_path / "artifact" / "README.md")
    written(tmp_path / "artifact")
    assert (tmp_path / "source.md").read_text() == "the source model's"


def test_without_huggingface_hub_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "missing_packages", lambda names: names)
    with pytest.raises(QuantbentoError, match=r"needs huggingface_hub: pip install 'quantbento\[quantize\]'"):
        written(tmp_path)


def test_a_stored_card_is_verified(tmp_path, bento_home):
    artifact = write_artifact(tmp_path / "artifact")
    written(artifact)
    model = store.save("demo-int8", artifact, content(), {}, {})
    assert {card.CARD, card.RESULTS} <= model.verify()["files"].keys()
    (model.path / card.CARD).write_text("better figures")
    with pytest.raises(StoreError, match=r"README.md was changed"):
        model.verify()


@pytest.mark.slow
def test_every_model_that_a_recipe_stores_has_a_card(served_home):
    models = [path.parent for path in served_home.glob("models/*/*/manifest.json")]
    assert models
    for folder in models:
        data = ModelCard.load(folder / card.CARD).data
        assert {result.metric_type for result in data.eval_results}
        assert parse_eval_result_entries(yaml.safe_load((folder / card.RESULTS).read_text()))
