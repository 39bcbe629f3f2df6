"""A PyTorch module says its inputs' names; types, shapes and outputs are seen from the samples and by running it."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.source import SampleSet
from quantbento.tasks.tensor.module import understand
from quantbento.tasks.tensor.options import TensorOptions


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2


class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, ids, scale=None):
        return self.table(ids).mean(1)


def dtype_of(module, sample, **options):
    inputs, _ = understand(module, TensorOptions(**options), SampleSet([sample]))
    return inputs[0].dtype


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", "uint16", "uint32", "uint64"])
def test_whole_numbers_and_booleans_of_an_array_keep_their_type(dtype):
    class Same(nn.Module):
        def forward(self, x):
            return x

    assert dtype_of(Same(), np.ones(3, dtype)) == dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_float32_as_the_module(dtype):
    assert dtype_of(nn.Linear(3, 2), np.ones(3, dtype)) == "float32"


def test_whole_numbers_in_a_list_are_floats_where_the_module_takes_floats():
    assert dtype_of(Doubled(), [1, 2, 3]) == "float32"
    assert dtype_of(nn.Linear(3, 2), [1, 2, 3]) == "float32"
    assert dtype_of(Lookup(), [1, 2, 3]) == "int64"


def test_whole_numbers_of_an_array_are_floats_where_the_module_takes_nothing_else():
    assert dtype_of(nn.Linear(3, 2), np.array([1, 2, 3], dtype=np.uint8)) == "float32"


def test_a_recipe_says_the_type():
    assert dtype_of(Doubled(), [1, 2, 3], dtypes={"x": "int16"}) == "int16"
    assert dtype_of(Doubled(), [1.0, 2.0], dtypes={"x": "float64"}) == "float64"
    with pytest.raises(QuantbentoError, match=r"x must be whole numbers \(int16\): it holds 1.5"):
        dtype_of(Doubled(), [1.0, 1.5], dtypes={"x": "int16"})


def test_inputs_are_those_that_the_samples_give():
    inputs, _ = understand(Lookup(), TensorOptions(), SampleSet([{"ids": np.array([1, 2])}]))
    assert [i.name for i in inputs] == ["ids"]


def test_an_input_that_is_shared_by_the_batch():
    class Scaled(nn.Module):
        def forward(self, x, *, rate):
            assert rate.ndim == 0
            return x / rate

    sample = {"x": [1.0, 2.0], "rate": 2}
    inputs, layout = understand(Scaled(), TensorOptions(batch_axis={"rate": None}), SampleSet([sample]))
    assert [(i.name, i.batch_axis, i.value) for i in inputs] == [("x", 0, None), ("rate", None, 2)]
    assert layout.outputs == {"output": 0}
    with pytest.raises(QuantbentoError, match="does not run on inputs shaped as the samples"):
        understand(Scaled(), TensorOptions(), SampleSet([sample]))


def test_a_scripted_module_says_its_names():
    scripted = torch.jit.script(Doubled())
    inputs, layout = understand(scripted, TensorOptions(), SampleSet([[1.0, 2.0]]))
    assert ([i.name for i in inputs], layout.outputs) == (["x"], {"output": 0})


def test_the_module_is_run_without_a_gradient():
    class Spy(nn.Module):
        def forward(self, x):
            assert not torch.is_grad_enabled()
            return x

    understand(Spy(), TensorOptions(), SampleSet([[1.0]]))


def test_complex_outputs_are_refused():
    with pytest.raises(QuantbentoError, match="output 'output' is complex; return its real and imaginary part"):
        understand(_Spectrum(), TensorOptions(), SampleSet([[1.0, 2.0, 3.0]]))


class _Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x)


def test_a_module_that_does_not_take_the_samples_is_refused():
    with pytest.raises(QuantbentoError, match=r"does not run on inputs shaped as the samples \{'input': \[5\]\}"):
        understand(nn.Linear(3, 2), TensorOptions(), SampleSet([np.ones(5)]))


def test_an_output_that_is_no_tensor_is_refused():
    with pytest.raises(QuantbentoError, match=r"must give a tensor, .* not a tuple of Tensor, tuple"):
        understand(nn.LSTM(3, 3, batch_first=True), TensorOptions(), SampleSet([np.ones((5, 3))]))


def test_a_module_that_names_no_inputs_is_refused():
    class Anything(nn.Module):
        def forward(self, *tensors):
            return tensors[0]

    with pytest.raises(QuantbentoError, match=r"Anything\.forward names no inputs; give its parameters names"):
        understand(Anything(), TensorOptions(), SampleSet([[1.0]]))
