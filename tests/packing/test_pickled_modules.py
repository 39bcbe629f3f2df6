"""The packages that pickled code needs are read out of the pickle, which is not loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quantbento.core.pickling import dump
from quantbento.packing.pickled_modules import distributions, modules

CODE = """
import json
import numpy as np
import sklearn.preprocessing
from sklearn.utils import shuffle
import yaml as y
import colorama_of_nobody

LIMIT = 3


class Kept:
    pass


def preprocess(item):
    return sklearn.preprocessing.normalize(np.asarray(item)), shuffle, y.safe_load, json, Kept, LIMIT


def other(item):
    return np.asarray(item), np.float32(1), colorama_of_nobody
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "colorama_of_nobody.py").touch()
    (tmp_path / "my_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    import my_code

    yield my_code
    for name in ("my_code", "colorama_of_nobody"):
        sys.modules.pop(name, None)


def test_what_code_uses_is_found_however_it_was_imported(code, tmp_path):
    dump({"preprocess": code.preprocess}, tmp_path / "objects.pkl", classes=[code.preprocess])
    found = set(modules(tmp_path / "objects.pkl"))
    assert {"json", "numpy", "sklearn.preprocessing", "yaml"} <= found
    assert any(name.startswith("sklearn.utils") for name in found)
    assert not {"my_code", "colorama_of_nobody"} & found
    assert distributions(tmp_path) == ["PyYAML", "cloudpickle", "numpy", "scikit-learn"]


def test_what_it_does_not_use_is_not_asked_for(code, tmp_path):
    dump({"other": code.other}, tmp_path / "objects.pkl", classes=[code.other])
    assert distributions(tmp_path) == ["cloudpickle", "numpy"]


def test_nothing_of_it_runs(tmp_path):
    """A pickle that would leave a file behind."""
    mark = tmp_path / "mark"

    class Touch:
        def __reduce__(self):
            return Path.touch, (mark,)

    import pickle

    (tmp_path / "objects.pkl").write_bytes(pickle.dumps(Touch()))
    assert distributions(tmp_path) == []
    assert not mark.exists()


def test_an_artifact_without_pickles_needs_nothing(tmp_path):
    assert distributions(tmp_path) == []


def test_a_module_that_is_pickled_whole_names_its_classes(tmp_path):
    import pickle

    import torch

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(torch.nn.Sequential(torch.nn.Linear(2, 2)), protocol=5))
    assert "torch" in distributions(tmp_path)
