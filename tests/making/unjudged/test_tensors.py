"""The index of a checkpoint of several files, and the files."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from quantbento.inputs.checkpoint import INDEX
from quantbento.making.unjudged.tensors import CheckpointTensors


@pytest.fixture
def shards(tmp_path):
    """Two files with their index."""
    save_file({"a.weight": torch.ones(2), "a.bias": torch.zeros(1)}, tmp_path / "1.safetensors")
    save_file({"b.weight": torch.ones(3)}, tmp_path / "2.safetensors")
    places = {"a.weight": "1.safetensors", "a.bias": "1.safetensors", "b.weight": "2.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    return tmp_path


def test_tensors_are_found_in_their_files(shards):
    found = CheckpointTensors(shards)
    assert found.problems == [] and "b.weight" in found and "b" not in found
    assert found.get("b.weight").tolist() == [1, 1, 1]
    assert sorted(found.below("a")) == ["bias", "weight"]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"a.weight": "1.safetensors", "a.bias": "1.safetensors"}, f"{INDEX} lacks b.weight of 2.safetensors"),
        ({"c": "2.safetensors"}, f"{INDEX} names c, which is in no file"),
        ({"b.weight": "1.safetensors"}, f"{INDEX} has b.weight in 1.safetensors; it is in 2.safetensors"),
        (None, f"{INDEX} cannot be read"),
    ],
)
def test_an_index_that_says_something_else_is_found(shards, places, told):
    (shards / INDEX).write_text(json.dumps({"weight_map": places} if places else []))
    assert any(problem.startswith(told) for problem in CheckpointTensors(shards).problems)


def test_several_files_need_an_index(shards):
    (shards / INDEX).unlink()
    assert CheckpointTensors(shards).problems == [
        f"2 safetensors files have no {INDEX}, without which loaders find one file at most"
    ]


def test_damaged_files_and_tensors_that_are_there_twice_are_found(shards):
    save_file({"a.bias": torch.zeros(1)}, shards / "3.safetensors")
    (shards / "4.safetensors").write_bytes(b"no header")
    twice, damaged, *_ = CheckpointTensors(shards).problems
    assert twice == "a.bias is in 1.safetensors and in 3.safetensors"
    assert damaged.startswith("4.safetensors cannot be read: ")


def test_a_folder_without_tensors_is_found(tmp_path):
    [told] = CheckpointTensors(tmp_path).problems
    assert told.startswith("there is no safetensors file")
