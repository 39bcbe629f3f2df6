"""What a run's stages depend on: whatever could change their result changes their key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Silent
from quantbento.judging.rows import VariantRow
from quantbento.making import cache, plan
from quantbento.making.cache import depends_on, kept_evaluation, stages
from quantbento.tasks.source import SourceModel
from tests import tiny_tensor

RECIPE = {
    "schema_version": 1,
    "name": "tiny",
    "task": "tensor",
    "model": {"factory": "tests.tiny_tensor:model"},
    "evaluation": {"factory": "tests.tiny_tensor:samples"},
    "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch, bento_home):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QUANTBENTO_CACHE_GB", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def made(recipe=RECIPE, source=None, device="cpu", threads=1, anew=False, progress=None):
    planned = plan.make(recipe, None, force=False)
    model = source or SourceModel(module=tiny_tensor.model())
    return stages(planned, model, device, threads, anew, progress or Silent())


def key(**options) -> str:
    return made(**options).key("reference", {})


def test_the_same_run_has_the_same_keys():
    assert key() == key()


@pytest.mark.parametrize(
    "more",
    [
        {"name": "other", "description": "x", "labels": {"team": "a"}},
        {"gates": {"min": {"sqnr_db": 10}}},
        {"benchmark": {"items": 4, "rounds": 3}},
        {"variants": [{"name": "other", "quantizer": "onnx-dynamic"}]},
    ],
    ids=["name", "gates", "benchmark", "variants"],
)
def test_what_is_judged_and_measured_anew_changes_nothing(more):
    assert key(recipe=RECIPE | more) == key()


def test_what_a_stage_is_made_from_changes_its_key(monkeypatch):
    base, other = key(), torch.nn.Sequential(torch.nn.Linear(4, 3))
    few = RECIPE | {"evaluation": RECIPE["evaluation"] | {"count": 8}}
    labelled = RECIPE | {"task_options": {"labels": ["a", "b", "c"]}}
    found = [
        key(recipe=few),
        key(recipe=labelled),
        key(threads=2),
        key(device="cuda"),
        key(source=SourceModel(module=other)),
    ]
    monkeypatch.setattr(cache, "_installed", lambda: "other packages")
    found.append(key())
    monkeypatch.setattr(cache, "_own_source", lambda: "another checkout")
    found.append(key())
    assert len({base, *found}) == 8


def test_a_factory_that_gives_other_weights_or_samples_has_other_keys(monkeypatch):
    base = key()
    torch.manual_seed(7)
    module = tiny_tensor.model()
    with torch.no_grad():
        module[0].bias += 1e-6
    assert key(source=SourceModel(module=module)) != base
    monkeypatch.setattr(tiny_tensor, "samples", lambda: np.zeros((4, 4)).tolist())
    assert key() != base


def test_samples_that_cannot_be_hashed_keep_nothing_and_say_so(monkeypatch):
    said = []
    progress = Silent()
    progress.say = said.append
    monkeypatch.setattr(tiny_tensor, "samples", lambda: [lambda: 1, lambda: 2])
    assert made(progress=progress).folder is None
    assert said[0].startswith("finished stages are not kept for a resumed run: the samples cannot be hashed: ")


def test_a_limit_of_zero_keeps_nothing(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_CACHE_GB", "0")
    assert made().folder is None
    monkeypatch.setenv("QUANTBENTO_CACHE_GB", "much")
    with pytest.raises(QuantbentoError, match="QUANTBENTO_CACHE_GB='much'"):
        made()


def test_a_variants_options_are_what_its_stages_depend_on():
    [variant] = plan.make(RECIPE, None, force=False).resolved.variants
    renamed = replace(variant, spec=variant.spec.model_copy(update={"name": "other"}))
    assert depends_on(renamed) == depends_on(variant)
    kept = replace(variant, options=variant.options.model_copy(update={"exclude": ["0"]}))
    assert depends_on(kept) != depends_on(variant)


def test_settings_of_the_engine_are_nothing_that_quantizing_depends_on():
    [variant] = plan.make(RECIPE, None, force=False).resolved.variants
    spec = variant.spec.model_copy(update={"engine": {"enable_prefix_caching": True}})
    assert depends_on(replace(variant, spec=spec, engine=spec.engine)) == depends_on(variant)


def _evaluated(found, folder: Path) -> tuple[VariantRow, bool]:
    row = VariantRow("int8", "torch-dynamic", "int8-dynamic", {}, "torch")
    with kept_evaluation(found, row, folder, "torch-fp32") as known:
        if not known:
            row.metrics, row.sample = {"sqnr_db": 40.0}, {"text": "x"}
    return row, known


def test_an_evaluation_is_that_of_an_artifact(tmp_path):
    found, folder = made(), tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"weights")
    assert not _evaluated(found, folder)[1]
    row, known = _evaluated(found, folder)
    assert known and (row.metrics, row.sample) == ({"sqnr_db": 40.0}, {"text": "x"})
    (folder / "model.pkl").write_bytes(b"others")
    assert not _evaluated(found, folder)[1]
    assert not _evaluated(made(anew=True), folder)[1]


def test_an_evaluation_that_fails_is_not_kept(tmp_path):
    found, row = made(), VariantRow("int8", "torch-dynamic", "int8-dynamic", {}, "torch")
    for _ in range(2):
        with pytest.raises(QuantbentoError), kept_evaluation(found, row, tmp_path / "none", "torch-fp32") as known:
            assert not known
            raise QuantbentoError("NaN")
