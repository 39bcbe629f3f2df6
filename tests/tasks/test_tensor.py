"""Any module or graph with named float inputs: names and shapes are read, and every input is checked against them."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes.onnx import OnnxRuntime
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.tensor import TensorOptions, TensorTask
from tests.jobs import numbers, onnx_file


class TwoInTwoOut(nn.Module):
    def forward(self, left, right, scale=None):
        total = left + right.sum(1)
        return {"total": total if scale is None else total * scale, "left": left}


def task_of(module, *inputs, labels=None):
    return TensorTask.create(SourceModel(module=module), TensorOptions(labels=labels), SampleSet(list(inputs)))


@pytest.fixture
def one():
    return task_of(nn.Linear(3, 2), [0.0, 1.0, 2.0])


@pytest.fixture
def two():
    return task_of(TwoInTwoOut(), {"right": numbers(4, 3), "left": numbers(3)})


def test_names_and_shapes_come_from_the_module_and_the_samples(one, two):
    assert (one.shapes, one.output_names) == ({"input": [3]}, ["output"])
    assert (two.shapes, two.output_names) == ({"left": [3], "right": [4, 3]}, ["total", "left"])


def test_a_tuple_s_outputs_are_numbered():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x * 2

    assert task_of(Pair(), numbers(3)).output_names == ["output_0", "output_1"]


def test_several_inputs_and_outputs_are_answered_by_name(two):
    item = {"left": [1, 2, 3], "right": np.ones((4, 3))}
    answers = Predictor(two, TorchRuntime(TwoInTwoOut(), None, two.output_names), {})([item] * 2)
    assert len(answers) == 2
    np.testing.assert_array_equal(answers[1]["total"], [5, 6, 7])
    np.testing.assert_array_equal(answers[1]["left"], [1, 2, 3])


def test_one_output_is_answered_bare(one):
    answers = Predictor(one, TorchRuntime(nn.Identity(), None, ["output"]), {})([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(answers, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([1.0, 2.0], r"input must have shape \(3,\), not \(2,\)"),
        ([[1.0, 2.0, 3.0]], r"must have shape \(3,\), not \(1, 3\)"),
        ([[1.0], [2.0, 3.0]], "must be numbers of shape"),
        (["a", "b", "c"], "must be numbers of shape"),
        ([1.0, float("nan"), 2.0], "must be finite"),
        ([1.0, None, 2.0], "must be finite"),
        ([1.0, float("-inf"), 2.0], "must be finite"),
        ([1.0, 1e39, 2.0], "must be finite in float32"),
        ([1.0, 10**400, 2.0], "must be numbers of shape"),
        (5.0, r"must have shape \(3,\), not \(\)"),
        ({"x": [1.0, 2.0, 3.0]}, r"has inputs \['x'\]; needed are \['input'\]"),
    ],
    ids=["short", "deep", "ragged", "words", "nan", "none", "infinity", "float64", "huge", "scalar", "name"],
)
def test_a_wrong_input_is_refused(one, item, message):
    with pytest.raises(InvalidInput, match=message):
        one.check(item)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([1.0, 2.0, 3.0], "must be a mapping with 'left' or 'right'"),
        ({"left": [1, 2, 3]}, r"has inputs \['left'\]; needed are \['left', 'right'\]"),
        ({"left": [1, 2, 3], "right": [1, 2, 3]}, r"right must have shape \(4, 3\)"),
    ],
    ids=["bare", "missing", "shape"],
)
def test_several_inputs_are_each_checked(two, item, message):
    with pytest.raises(InvalidInput, match=message):
        two.check(item)


def test_checked_inputs_are_float32(one):
    assert one.check([1, 2, 3])["input"].dtype == np.float32


def test_samples_must_name_inputs_the_model_has():
    with pytest.raises(QuantbentoError, match=r"does not have: 'lefd'; did you mean 'left'\?"):
        task_of(TwoInTwoOut(), {"lefd": numbers(3), "right": numbers(4, 3)})


def test_a_model_that_does_not_take_the_samples_is_refused():
    with pytest.raises(QuantbentoError, match=r"does not run on inputs shaped as the samples \{'input': \[5\]\}"):
        task_of(nn.Linear(3, 2), numbers(5))


def test_an_output_that_is_not_batch_first_is_refused():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean()

    with pytest.raises(QuantbentoError, match=r"'output' is not batch first: two samples gave shape \(\)"):
        task_of(Mean(), numbers(3))


def test_an_output_that_is_no_tensor_is_refused():
    with pytest.raises(QuantbentoError, match=r"must give a tensor, .* not a tuple of Tensor, tuple"):
        task_of(nn.LSTM(3, 3, batch_first=True), numbers(5, 3))


def test_an_onnx_file_with_two_inputs(tmp_path):
    path = onnx_file(
        tmp_path / "two.onnx",
        [
            ("MatMul", ["a", "w"], ["scaled"]),
            ("Add", ["scaled", "b"], ["sum"]),
            ("Sub", ["scaled", "b"], ["difference"]),
        ],
        {"a": ["batch", 3], "b": ["batch", 2]},
        {"sum": ["batch", 2], "difference": ["batch", 2]},
        {"w": np.ones((3, 2), dtype=np.float32)},
    )
    samples = SampleSet([{"a": [1, 2, 3], "b": [1, 2]}])
    task = TensorTask.create(SourceModel(onnx=path), TensorOptions(), samples)
    assert (task.shapes, task.output_names) == ({"a": [3], "b": [2]}, ["sum", "difference"])
    path.rename(tmp_path / "model.onnx")
    predictor = Predictor(task, OnnxRuntime.load(tmp_path, {}, threads=1), {})
    first, second = predictor([{"a": [1, 2, 3], "b": [1, 2]}, {"a": [0, 0, 1], "b": [5, 5]}])
    np.testing.assert_array_equal(first["sum"], [7, 8])
    np.testing.assert_array_equal(second["difference"], [-4, -4])


def test_a_saved_task_reads_back_the_same(tmp_path):
    task = task_of(nn.Linear(3, 2), numbers(3), labels=["no", "yes"])
    again = TensorTask.load(tmp_path, json.loads(json.dumps(task.save(tmp_path))))
    assert vars(again) == vars(task)


def test_metrics_count_every_output(two):
    zeros, ones = np.zeros((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    same = two.compare({"total": ones, "left": ones}, {"total": ones, "left": ones}, None)
    other = two.compare({"total": ones, "left": ones}, {"total": ones, "left": zeros}, None)
    assert same == {"sqnr_db": 200.0, "max_error": 0.0}
    assert other == pytest.approx({"sqnr_db": 20 * np.log10(np.sqrt(2)), "max_error": 1.0})


def test_labels_give_accuracy_by_name_or_index():
    task = task_of(nn.Linear(3, 2), numbers(3), labels=["no", "yes"])
    baseline = {"output": np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)}
    variant = {"output": np.array([[1.0, 0.0], [2.0, 1.0]], dtype=np.float32)}
    for labels in (["no", "yes"], [0, 1]):
        metrics = task.compare(baseline, variant, labels)
        assert (metrics["accuracy"], metrics["agreement"]) == (0.5, 0.5)


def test_a_schema_states_every_dimension(one, two):
    assert one.item_schema() == {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
    schema = two.item_schema()
    assert schema["required"] == ["left", "right"]
    assert schema["properties"]["right"]["minItems"] == 4
    assert schema["properties"]["right"]["items"]["maxItems"] == 3


def test_the_module_is_run_without_a_gradient():
    class Spy(nn.Module):
        def forward(self, x):
            assert not torch.is_grad_enabled()
            return x

    task_of(Spy(), numbers(3))


def test_a_module_that_names_no_inputs_is_refused():
    class Anything(nn.Module):
        def forward(self, *tensors):
            return tensors[0]

    with pytest.raises(QuantbentoError, match=r"Anything\.forward names no inputs; give its parameters names"):
        TensorTask.create(SourceModel(module=Anything()), TensorTask.Options(), SampleSet([[1.0]]))
