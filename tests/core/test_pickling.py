"""A project's own code goes into the pickle; installed packages are named in it."""

import importlib
import pickle
import subprocess
import sys

import cloudpickle
import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.core.pickling import dump
from tests.jobs import run_elsewhere

PROJECT = {
    "__init__.py": "",
    "numbers.py": "def double(x):\n    return 2 * x\n",
    "model.py": (
        "from json import dumps\n"
        "from project_to_pickle.numbers import double\n\n"
        "class Model:\n    def __call__(self, x):\n        return dumps(double(x))\n\n"
        "def function(x):\n    return double(x) + 1\n"
    ),
}
CALL = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(21))"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The module `project_to_pickle.model`, from a package that is not installed."""
    package = tmp_path / "src" / "project_to_pickle"
    package.mkdir(parents=True)
    for name, text in PROJECT.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "src")
    yield importlib.import_module("project_to_pickle.model")
    for name in [n for n in sys.modules if n.startswith("project_to_pickle")]:
        del sys.modules[name]


@pytest.fixture
def elsewhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@pytest.mark.parametrize(("name", "answer"), [("Model", "42"), ("function", "43")], ids=["class", "function"])
def test_a_project_s_code_travels_with_what_it_calls(project, elsewhere, name, answer):
    definition = getattr(project, name)
    value = definition() if isinstance(definition, type) else definition
    dump(value, elsewhere / "value.pkl", classes=[definition])
    assert run_elsewhere(CALL, elsewhere, "value.pkl").strip() == answer


def test_installed_code_is_named_not_copied(tmp_path):
    dump(np.linalg.norm, tmp_path / "a.pkl", classes=[np.linalg.norm])
    assert (tmp_path / "a.pkl").stat().st_size < 200
    assert pickle.loads((tmp_path / "a.pkl").read_bytes()) is np.linalg.norm


def test_quantbento_is_named_not_copied(tmp_path):
    """Even if it is an editable install, in a folder that looks like a project's."""
    dump(QuantbentoError, tmp_path / "a.pkl", classes=[QuantbentoError])
    assert (tmp_path / "a.pkl").stat().st_size < 200


def test_values_without_a_module_are_pickled(tmp_path):
    value = {"threshold": 0.5, "table": [1, 2]}
    dump(value, tmp_path / "a.pkl", classes=list(value.values()))
    assert pickle.loads((tmp_path / "a.pkl").read_bytes()) == value


def test_cloudpickle_is_left_as_it_was(project, tmp_path):
    dump(project.Model(), tmp_path / "a.pkl", classes=[project.Model])
    assert cloudpickle.list_registry_pickle_by_value() == set()
    with pytest.raises(TypeError):
        dump([project.Model(), sys._getframe()], tmp_path / "b.pkl", classes=[project.Model])
    assert cloudpickle.list_registry_pickle_by_value() == set()


def test_a_module_the_user_registered_stays_registered(project, tmp_path):
    cloudpickle.register_pickle_by_value(project)
    try:
        dump(project.Model(), tmp_path / "a.pkl", classes=[project.Model])
        assert project.__name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(project)


def test_a_qscheme_is_found_where_a_module_before_torch_answers_to_any_name(tmp_path):
    """Transformers' aliases of image processors do so, and import what may not be installed."""
    code = """
import sys, types
hostile = sys.modules["hostile"] = types.ModuleType("hostile")
def answer(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
hostile.__getattr__ = answer
import torch
from pathlib import Path
from quantbento.core.pickling import dump
dump([torch.per_channel_affine, torch.per_tensor_symmetric], Path(sys.argv[1]), classes=[])
"""
    file = tmp_path / "schemes.pkl"
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    import torch

    assert pickle.loads(file.read_bytes()) == [torch.per_channel_affine, torch.per_tensor_symmetric]


def test_quantized_convolutions_are_modules_again(tmp_path):
    """Pickle alone restores them without what every module has."""
    import torch

    kinds = (torch.ao.nn.quantized.Conv2d, torch.ao.nn.intrinsic.quantized.ConvReLU2d)
    layers = [kind(4, 6, 3, stride=2, padding=1, groups=2) for kind in kinds]
    inputs = torch.quantize_per_tensor(torch.randn(2, 4, 5, 5), 0.05, 128, torch.quint8)
    for layer in layers:
        layer.scale, layer.zero_point = 0.1, 3
        weight = torch.quantize_per_tensor(torch.randn(6, 2, 3, 3), 0.02, 0, torch.qint8)
        layer.set_weight_bias(weight, torch.randn(6))
    dump(torch.nn.Sequential(*layers[:1]), tmp_path / "a.pkl", classes=[])
    dump(layers[1], tmp_path / "b.pkl", classes=[])
    for layer, file in zip(layers, ("a.pkl", "b.pkl"), strict=True):
        loaded = pickle.loads((tmp_path / file).read_bytes()).eval()
        assert list(loaded.named_modules())
        assert torch.equal(loaded(inputs).int_repr(), layer(inputs).int_repr())
