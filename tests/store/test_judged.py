"""A model that was not judged is neither promoted nor chosen nor served nor packed, and the error says what to do."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.judging.rows import VariantRow
from quantbento.store import aliases, best, labels
from quantbento.store.candidates import of_manifest
from quantbento.store.judged import LABEL, is_unjudged, require_judged
from tests.store.test_models import write_artifact


@pytest.fixture
def unjudged(tmp_path, bento_home) -> store.StoredModel:
    row = VariantRow("int4", "rtn", "W4A16", {}, "vllm", size_bytes=1000, judged=False)
    content = {"variant": asdict(row), "recipe": {"name": "demo", "task": "text-generation"}}
    return store.save("demo-int4", write_artifact(tmp_path / "artifact"), content, LABEL, {})


def test_the_error_names_the_next_command(unjudged):
    with pytest.raises(StoreError, match=f"Judge it where its runtime runs: quantbento judge {unjudged.tag}"):
        require_judged(unjudged)


def test_models_of_older_versions_and_without_a_recipe_were_judged(demo_model):
    assert not is_unjudged({}) and not is_unjudged({"variant": {"passed": True}})
    require_judged(demo_model)


def test_it_is_promoted_by_force_only(unjudged):
    with pytest.raises(StoreError, match=r"was not promoted: .* was not judged. .* --as production --force"):
        aliases.promote("demo-int4", "production")
    assert aliases.promote("demo-int4", "production", force=True).after == unjudged.tag
    assert aliases.history("demo-int4")["production"][-1].forced


def test_it_is_no_choice(unjudged):
    refused = of_manifest(unjudged.tag, unjudged.manifest).refused
    assert refused == f"was not judged; judge it where vllm runs: quantbento judge {unjudged.tag}"
    with pytest.raises(StoreError, match="demo:best: nothing qualifies"):
        best.of_recipe("demo", store.models())


def test_its_label_stays(unjudged):
    assert labels.read(unjudged) == {"judged": "false"}
    assert labels.users(labels.read(unjudged)) == {}
