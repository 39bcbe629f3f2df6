"""A draft model travels with the artifact, and is known by its files."""

from __future__ import annotations

import pytest

from quantbento.inputs.draft_models import identity, keep, problem, without_paths


@pytest.fixture
def draft(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text('{"vocab_size": 8}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def engine(folder) -> dict:
    return {"dtype": "auto", "speculative_config": {"method": "draft_model", "model": str(folder)}}


def test_it_is_copied_and_named_by_its_place_in_the_artifact(draft, tmp_path):
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    kept = keep(engine(draft), artifact)
    assert kept == {"dtype": "auto", "speculative_config": {"method": "draft_model", "model": "draft"}}
    assert (artifact / "draft" / "model.safetensors").read_bytes() == b"weights"
    assert keep({"dtype": "auto"}, artifact) == {"dtype": "auto"}


def test_it_is_known_by_its_files_and_shown_by_its_name(draft):
    before = identity(engine(draft))
    (draft / "model.safetensors").write_bytes(b"others")
    assert identity(engine(draft)) != before
    assert identity({}) == {}
    assert without_paths(engine(draft))["speculative_config"]["model"] == "small"


def test_a_folder_without_a_configuration_is_no_model(tmp_path):
    assert str(problem(tmp_path, 8, "draft_model")).endswith("it has no config.json")
