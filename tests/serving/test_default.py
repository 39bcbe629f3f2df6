"""`Default`: the service for the task of the model that is chosen, or one that says why there is none."""

from __future__ import annotations

import pytest

import service
from quantbento.core import registry
from quantbento.serving.default import default_service
from quantbento.serving.errors import CannotServe
from tests.serving.stored import save_stand_in


def refusal(default) -> str:
    """What it says instead of starting, serving or being built."""
    said = set()
    for refused in (default.inner.preflight, default.models[0].to_info, default.models[0].resolve):
        with pytest.raises(CannotServe) as raised:
            refused()
        said.add(str(raised.value))
    [same] = said
    return same


@pytest.mark.parametrize("task", registry.TASKS)
def test_it_is_the_service_for_the_task_of_the_only_model(bento_home, tmp_path, task):
    save_stand_in("mine", task, tmp_path / "a")
    default = default_service()
    assert default.inner.served.task_name == task
    assert default in vars(service).values()


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_it_follows_the_model_that_is_named(bento_home, tmp_path, monkeypatch, how):
    save_stand_in("encoder", "feature-extraction", tmp_path / "a")
    save_stand_in("writer", "text-generation", tmp_path / "b", "transformers")
    if how == "variable":
        monkeypatch.setenv("QUANTBENTO_MODEL", "writer")
    else:
        from types import SimpleNamespace

        from quantbento.serving import choice

        monkeypatch.setattr(choice.bentoml, "use_arguments", lambda: SimpleNamespace(model="writer", max_tokens="3"))
    assert default_service() is service.TextGeneration


def test_in_a_bento_it_is_the_service_of_the_packed_model(bento_home, tmp_path, monkeypatch):
    packed = save_stand_in("encoder", "feature-extraction", tmp_path / "a")
    save_stand_in("moons", "tensor", tmp_path / "b")
    (tmp_path / "src").mkdir()
    description = f"name: tiny\nversion: v1\nmodels: []\nservices:\n- models:\n  - tag: {packed.tag}\n"
    (tmp_path / "bento.yaml").write_text(description)
    monkeypatch.chdir(tmp_path / "src")
    monkeypatch.setenv("QUANTBENTO_MODEL", "moons")  # which the service refuses when it starts
    assert default_service() is service.Embedding


def test_in_a_bento_whose_model_was_not_pulled_it_is_the_service_the_bento_was_built_with(
    bento_home, tmp_path, monkeypatch
):
    """BentoML fetches the model after it has imported the service."""
    (tmp_path / "src").mkdir()
    services = "services:\n- name: TextClassification\n  models:\n  - tag: gone:0a1b\n"
    (tmp_path / "bento.yaml").write_text(f"name: tiny\nversion: v1\nentry_service: TextClassification\n{services}")
    monkeypatch.chdir(tmp_path / "src")
    assert default_service() is service.TextClassification


def test_without_a_choice_it_says_so(bento_home, tmp_path):
    assert refusal(default_service()).startswith("no model is stored, and none is named")
    for name in ("a", "b"):
        save_stand_in(name, "tensor", tmp_path / name)
    first, second, _ = refusal(default_service()).splitlines()
    assert (first, second) == ("2 models are stored; say which:", "  quantbento serve a  # tensor on onnx")


def test_a_model_without_a_service_is_told_what_serves_it(bento_home, tmp_path):
    stored = save_stand_in("mine", "my_tasks:Ranking", tmp_path / "a")
    said = refusal(default_service())
    assert said.startswith(f"{stored.tag} is a model for my_tasks:Ranking; this file has services for feature-extract")
    assert said.endswith(f"Run: quantbento serve {stored.tag}")
