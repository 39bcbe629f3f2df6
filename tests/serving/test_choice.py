"""Which model is served where none is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bentoml
import pytest

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.serving import choice
from quantbento.serving.choice import MOST_LISTED, named, only_model, task_of
from tests.serving.stored import save_stand_in


def test_of_an_empty_store_it_says_what_saves_one(bento_home):
    with pytest.raises(StoreError, match=r"^no model is stored, and none is named\. Save one with: python"):
        only_model()
    with pytest.raises(StoreError, match=r"^no model for tensor is stored"):
        only_model("tensor")


def test_the_only_one_is_taken_whatever_its_versions(bento_home, tmp_path):
    for number in range(3):
        save_stand_in("encoder", "feature-extraction", tmp_path / "a", number=number)
    assert only_model() == only_model("feature-extraction") == "encoder"
    with pytest.raises(StoreError, match="no model for tensor"):
        only_model("tensor")


def test_of_several_it_lists_each_with_its_command(bento_home, tmp_path):
    save_stand_in("encoder", "feature-extraction", tmp_path / "a")
    save_stand_in("moons-torch", "tensor", tmp_path / "b", "torch")
    assert (only_model("tensor"), only_model("feature-extraction")) == ("moons-torch", "encoder")
    with pytest.raises(StoreError) as raised:
        only_model()
    assert str(raised.value).splitlines() == [
        "2 models are stored; say which:",
        "  quantbento serve encoder      # feature-extraction on onnx",
        "  quantbento serve moons-torch  # tensor on torch",
    ]
    save_stand_in("moons-onnx", "tensor", tmp_path / "c")
    with pytest.raises(StoreError, match=r"^2 models for tensor are stored; say which:\n  run moons-onnx   # t"):
        only_model("tensor", "run {name}")


def test_a_long_list_is_cut(bento_home, tmp_path):
    for number in range(MOST_LISTED + 2):
        save_stand_in(f"m{number:02}", "tensor", tmp_path / "a")
    with pytest.raises(StoreError) as raised:
        only_model()
    lines = str(raised.value).splitlines()
    assert (len(lines), lines[-1]) == (MOST_LISTED + 2, "  and 2 more: quantbento models")


@pytest.fixture
def foreign(bento_home) -> str:
    """The tag of a model that BentoML stored for somebody else."""
    with bentoml.models.create("foreign:v1") as model:
        Path(model.path_of("weights")).write_bytes(b"weights")
    return str(model.tag)


def test_models_that_somebody_else_stored_do_not_count(bento_home, tmp_path, foreign):
    assert foreign in [model.tag for model in store.models()]
    save_stand_in("encoder", "feature-extraction", tmp_path / "a")
    assert only_model() == "encoder"


def test_a_model_that_says_no_task_is_an_error(bento_home, tmp_path, foreign):
    assert task_of(save_stand_in("encoder", "feature-extraction", tmp_path / "a")) == "feature-extraction"
    with pytest.raises(StoreError, match=r"foreign:v1 has no manifest\.json: it was not saved by quantbento"):
        task_of(store.find(foreign))
    (tmp_path / "b").mkdir()
    with pytest.raises(StoreError, match="does not say what it is for; make it again"):
        task_of(store.save("without-artifact", tmp_path / "b", {}, {}, {}))


def test_an_argument_names_a_model_before_the_environment(monkeypatch):
    monkeypatch.delenv("QUANTBENTO_MODEL", raising=False)
    assert named() is None
    monkeypatch.setenv("QUANTBENTO_MODEL", "variable")
    assert named() == "variable"
    given = SimpleNamespace(model="argument", max_tokens="3")  # of another service than the one that asks
    monkeypatch.setattr(choice.bentoml, "use_arguments", lambda: given)
    assert named() == "argument"
