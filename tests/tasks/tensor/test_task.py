"""Any module or graph that makes arrays of arrays: checked, batched with its like, answered and compared."""

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
from tests.jobs import numbers, onnx_file, tensor_task
from tests.tasks.tensor.graphs import typed_graph


class TwoInTwoOut(nn.Module):
    def forward(self, left, right, scale=None):
        total = left + right.sum(1)
        return {"total": total if scale is None else total * scale, "left": left}


def task_of(module, *inputs, **options):
    return TensorTask.create(SourceModel(module=module), TensorOptions(**options), SampleSet(list(inputs)))


def predictor_of(module, task):
    return Predictor(task, TorchRuntime(module, None, task.output_names), {})


@pytest.fixture
def one():
    return task_of(nn.Linear(3, 2), [0.0, 1.0, 2.0])


@pytest.fixture
def two():
    return task_of(TwoInTwoOut(), {"right": numbers(4, 3), "left": numbers(3)})


def test_names_and_shapes_come_from_the_module_and_the_samples(one, two):
    assert ([(i.name, i.shape) for i in one.inputs], one.output_names) == ([("input", (3,))], ["output"])
    assert [(i.name, i.shape) for i in two.inputs] == [("left", (3,)), ("right", (4, 3))]
    assert two.output_names == ["total", "left"]


def test_a_tuple_s_outputs_are_numbered():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x * 2

    assert task_of(Pair(), numbers(3)).output_names == ["output_0", "output_1"]


def test_several_inputs_and_outputs_are_answered_by_name(two):
    item = {"left": [1, 2, 3], "right": np.ones((4, 3))}
    answers = predictor_of(TwoInTwoOut(), two)([item] * 2)
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
        ([[1.0], [2.0, 3.0]], r"must be numbers of shape \(3,\), and is not"),
        ([1.0, None, 2.0], r"must be numbers of shape \(3,\): it holds null"),
        ([1.0, float("-inf"), 2.0], "must be finite in float32"),
        (5.0, r"must have shape \(3,\), not \(\)"),
        ({"x": [1.0, 2.0, 3.0]}, r"has inputs \['x'\]; needed are \['input'\]"),
        ({"x" * 1000: 1}, r"^has inputs \['x{12}\.\.\.x{13}'\]; needed"),
        (dict.fromkeys(map(str, range(1000))), r"^has inputs \['0', .{,600}, \.\.\.\]; needed"),
    ],
    ids=["short", "deep", "ragged", "none", "infinity", "scalar", "name", "long-name", "many-names"],
)
def test_a_wrong_input_is_refused(one, item, message):
    with pytest.raises(InvalidInput, match=message):
        one.check(item)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([1.0, 2.0, 3.0], r"must be a mapping with the inputs \['left', 'right'\]"),
        ({"left": [1, 2, 3]}, r"has inputs \['left'\]; needed are \['left', 'right'\]"),
        ({"left": [1, 2, 3], "right": [1, 2, 3]}, r"right must have shape \(4, 3\)"),
    ],
    ids=["bare", "missing", "shape"],
)
def test_several_inputs_are_each_checked(two, item, message):
    with pytest.raises(InvalidInput, match=message):
        two.check(item)


def test_options_that_name_what_the_model_does_not_have_are_refused():
    with pytest.raises(QuantbentoError, match=r"task_options.free names 'y' \(the model has 'input'\)"):
        task_of(nn.Linear(3, 2), numbers(3), free={"y": [0]})
    with pytest.raises(QuantbentoError, match=r"task_options\.output_batch_axis names 'scores'"):
        task_of(nn.Linear(3, 2), numbers(3), output_batch_axis={"scores": 0})


def test_an_onnx_file_with_two_inputs(tmp_path):
    path = onnx_file(
        tmp_path / "model.onnx",
        [
            ("MatMul", ["a", "w"], ["scaled"]),
            ("Add", ["scaled", "b"], ["sum"]),
            ("Sub", ["scaled", "b"], ["difference"]),
        ],
        {"a": ["batch", 3], "b": ["batch", 2]},
        {"sum": ["batch", 2], "difference": ["batch", 2]},
        {"w": np.ones((3, 2), dtype=np.float32)},
    )
    task = TensorTask.create(SourceModel(onnx=path), TensorOptions(), SampleSet([{"a": [1, 2, 3], "b": [1, 2]}]))
    assert ([i.shape for i in task.inputs], task.output_names) == ([(3,), (2,)], ["sum", "difference"])
    predictor = Predictor(task, OnnxRuntime.load(tmp_path, {}, threads=1), {})
    first, second = predictor([{"a": [1, 2, 3], "b": [1, 2]}, {"a": [0, 0, 1], "b": [5, 5]}])
    np.testing.assert_array_equal(first["sum"], [7, 8])
    np.testing.assert_array_equal(second["difference"], [-4, -4])


@pytest.fixture
def recurrent(tmp_path):
    """A state whose batch is its second axis is divided by a number that the batch shares; notes each run's sizes."""
    path = typed_graph(
        tmp_path / "model.onnx",
        [
            ("Cast", ["rate"], ["divisor"], {"to": 1}),
            ("Div", ["state", "divisor"], ["next"]),
            ("ReduceSum", ["x", "axes"], ["y"], {"keepdims": 0}),
        ],
        {"x": ("float32", ["N", "time"]), "state": ("float32", [2, "N", 4]), "rate": ("int64", [])},
        {"y": ("float32", ["N"]), "next": ("float32", [2, "N", 4])},
        {"axes": np.array([1])},
    )
    sample = {"x": np.ones(7), "state": np.ones((2, 4)), "rate": 16000}
    task = TensorTask.create(SourceModel(onnx=path), TensorOptions(), SampleSet([sample]))
    predictor, sizes = Predictor(task, OnnxRuntime.load(tmp_path, {}, threads=1), {}), []
    run = predictor.runtime.run
    predictor.runtime.run = lambda batch: sizes.append((batch["x"].shape, int(batch["rate"]))) or run(batch)
    return predictor, sizes


def test_items_of_other_shapes_or_other_shared_values_are_never_in_one_batch(recurrent):
    predictor, sizes = recurrent
    rng = np.random.default_rng(0)
    items = [
        {"x": rng.normal(size=time), "state": rng.normal(size=(2, 4)), "rate": rate}
        for time, rate in [(3, 1), (5, 1), (3, 2), (3, 1), (5, 1), (3, 2), (9, 1)]
    ]
    answers = predictor(items)
    assert sorted(sizes) == [((1, 9), 1), ((2, 3), 1), ((2, 3), 2), ((2, 5), 1)]
    for item, answer in zip(items, answers, strict=True):
        np.testing.assert_allclose(answer["y"], item["x"].sum(), rtol=1e-5)
        np.testing.assert_allclose(answer["next"], item["state"] / item["rate"], rtol=1e-5)
        assert answer["next"].shape == (2, 4)


def test_warm_up_has_the_shared_value_and_the_sizes_that_the_model_knows(recurrent):
    [example] = recurrent[0].task.examples()
    assert {name: (value.shape, value.dtype) for name, value in example.items()} == {
        "x": ((7,), np.float32),
        "state": ((2, 4), np.float32),
        "rate": ((), np.int64),
    }
    assert example["rate"] == 16000
    assert recurrent[0].answers([example] * 3)


class OnlyOne(nn.Module):
    def forward(self, x):
        assert len(x) == 1
        return x.cumsum(1), x.sum()


def test_a_model_that_takes_one_item_at_a_time_gets_one():
    task = task_of(OnlyOne(), numbers(3))
    assert len(task.notes) == 1
    answers = predictor_of(OnlyOne(), task)([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal([a["output_0"] for a in answers], [[1, 3, 6], [4, 9, 15], [7, 15, 24]])
    assert [float(a["output_1"]) for a in answers] == [6, 15, 24]
    assert task.dynamic_axes() == {"x": ()}


def test_a_fixed_batch_is_filled_with_copies_of_one_item(tmp_path):
    path = typed_graph(
        tmp_path / "model.onnx",
        [("CumSum", ["x", "axis"], ["y"])],
        {"x": ("float32", [4, 2])},
        {"y": ("float32", [4, 2])},
        {"axis": np.array(1)},
    )
    task = TensorTask.create(SourceModel(onnx=path), TensorOptions(), SampleSet([[1, 2]]))
    answers = Predictor(task, OnnxRuntime.load(tmp_path, {}, threads=1), {})([[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(answers, [[1, 3], [3, 7], [5, 11]])


class AnySize(nn.Module):
    def forward(self, image):
        return {"pooled": image.mean((2, 3)), "doubled": image * 2}


def test_images_of_any_size_give_answers_of_their_size():
    task = task_of(AnySize(), numbers(3, 4, 5), numbers(3, 6, 5))
    assert str(task.inputs[0]) == "(3, any, 5)"
    images = [numbers(3, height, 5, seed=height) for height in (2, 7, 2, 4)]
    predictor = predictor_of(AnySize(), task)
    answers = predictor(images)
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_array_equal(answer["doubled"], image * 2)
    rows = predictor.rows(images)
    assert rows["pooled"].shape == (4, 3)
    assert [row.shape for row in rows["doubled"]] == [image.shape for image in images]
    assert task.compare(rows, rows, None) == {"sqnr_db": 200.0, "max_error": 0.0}


def test_rows_for_another_number_of_items_are_an_error(one):
    with pytest.raises(QuantbentoError, match=r"an output 'output' of shape \(3, 2\) for 2 items"):
        one.postprocess({"output": np.zeros((3, 2))}, {"input": np.zeros((2, 3))})


def test_other_types_than_half_precision_stay(one):
    for given, kept in {"float16": "float32", "float64": "float64", "int64": "int64", "bool": "bool"}.items():
        rows = one.postprocess({"output": np.zeros((2, 2), given)}, {"input": np.zeros((2, 3))})
        assert rows["output"].dtype == kept


def test_a_saved_task_reads_back_the_same(tmp_path, recurrent):
    for task in (recurrent[0].task, task_of(nn.Linear(3, 2), numbers(3), labels=["no", "yes"])):
        again = TensorTask.load(tmp_path, json.loads(json.dumps(task.save(tmp_path))))
        assert vars(again) == vars(task)
    fixed = task_of(OnlyOne(), numbers(3))
    assert TensorTask.load(tmp_path, json.loads(json.dumps(fixed.save(tmp_path)))).chunk_items == 1


def test_a_task_of_version_0_2_reads_as_float32_with_the_batch_first(tmp_path):
    old = TensorTask.load(tmp_path, {"shapes": {"x": [2, 3]}, "output_names": ["y"], "labels": ["a"]})
    assert vars(old) == vars(tensor_task({"x": [2, 3]}, ["y"], ["a"]))
    assert old.check(np.ones((2, 3)))["x"].dtype == np.float32


def test_metrics_count_every_float_output(two):
    zeros, ones = np.zeros((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    same = two.compare({"total": ones, "left": ones}, {"total": ones, "left": ones}, None)
    other = two.compare({"total": ones, "left": ones}, {"total": ones, "left": zeros}, None)
    assert same == {"sqnr_db": 200.0, "max_error": 0.0}
    assert other == pytest.approx({"sqnr_db": 20 * np.log10(np.sqrt(2)), "max_error": 1.0})


def test_integer_outputs_are_compared_by_the_share_that_is_equal():
    task = tensor_task({"x": [2]}, ["classes", "scores"])
    scores = np.ones((2, 2), np.float32)
    baseline = {"classes": np.array([[1, 2], [3, 4]]), "scores": scores}
    variant = {"classes": np.array([[1, 2], [3, 9]]), "scores": scores}
    assert task.compare(baseline, variant, None) == {"sqnr_db": 200.0, "max_error": 0.0, "agreement": 0.75}
    only = tensor_task({"x": [2]}, ["classes"])
    assert only.compare(baseline, variant, None) == {"agreement": 0.75}


@pytest.mark.parametrize("given", [["no", "yes"], [0, 1]], ids=["names", "indices"])
def test_labels_give_accuracy_of_scores_and_of_classes(given):
    task = tensor_task({"x": [3]}, ["output"], ["no", "yes"])
    scores = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([[1.0, 0.0], [2.0, 1.0]], np.float32)
    classes = np.array([0, 1]), np.array([0, 0])
    for baseline, variant in (scores, classes, tuple(c[:, None] for c in classes)):
        metrics = task.compare({"output": baseline}, {"output": variant}, given)
        assert (metrics["accuracy"], metrics["agreement"]) == (0.5, 0.5)


@pytest.mark.parametrize("shape", [(2, 5, 3), ()], ids=["many", "ragged"])
def test_labels_for_an_output_that_is_no_class_of_an_item_are_refused(shape):
    task = tensor_task({"x": [3]}, ["output"])
    rows = np.zeros(shape, np.float32) if shape else np.empty(2, dtype=object)
    if not shape:
        rows[:] = [np.zeros(3, np.float32), np.zeros(4, np.float32)]
    with pytest.raises(
        QuantbentoError, match="the samples have labels, but the first output, 'output', gives no class"
    ):
        task.compare({"output": rows}, {"output": rows}, [0, 1])


def test_a_schema_states_every_dimension(one, two):
    assert one.item_schema() == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 3,
        "maxItems": 3,
        "description": "float32, shape (3,)",
    }
    schema = two.item_schema()
    assert schema["required"] == ["left", "right"]
    assert schema["properties"]["right"]["minItems"] == 4
    assert schema["properties"]["right"]["items"]["maxItems"] == 3


def test_integers_are_looked_up_by_a_module_and_stay_integers():
    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, ids):
            return {"mean": self.table(ids).mean(1), "most": ids.max(1).values, "even": ids % 2 == 0}

    module = Lookup()
    task = task_of(module, np.array([1, 2, 3], dtype=np.int32))
    [answer] = predictor_of(module, task)([[8, 0, 3]])
    assert {name: value.dtype.name for name, value in answer.items()} == {
        "mean": "float32",
        "most": "int32",
        "even": "bool",
    }
    assert (answer["most"], answer["even"].tolist()) == (8, [True, True, False])
    with torch.inference_mode():
        expected = module.table(torch.tensor([8, 0, 3])).mean(0)
    np.testing.assert_allclose(answer["mean"], expected.numpy(), rtol=1e-6)
    with pytest.raises(InvalidInput, match=r"ids must be whole numbers \(int32\): it holds 1.5"):
        task.check([1.5, 0, 1])


LABELS = [0, 1, 1, 0]
DRAWN = np.array([0, 0, 2, 3])


def compared(task):
    """The metrics of what was drawn, and those of the same samples written out."""
    random = np.random.default_rng(0)
    rows = [{name: random.normal(size=(4, 2)).astype(np.float32) for name in task.output_names} for _ in range(2)]
    written = [{name: values[DRAWN] for name, values in r.items()} for r in rows]
    labels = [LABELS[i] for i in DRAWN]
    return task.resampler(*rows, LABELS)(DRAWN), task.compare(*written, labels)


def test_metrics_of_samples_that_were_drawn_are_those_of_the_samples(one):
    drawn, written = compared(one)
    assert drawn == pytest.approx(written)
    assert {"sqnr_db", "max_error", "accuracy", "agreement", "f1_macro", "mcc"} == drawn.keys()


def test_a_task_with_metrics_of_its_own_resamples_them():
    class Own(TensorTask):
        def compare(self, baseline, variant, labels):
            return {"zeros": float(sum(label == 0 for label in labels))}

    task = Own.create(SourceModel(module=nn.Linear(3, 2)), TensorOptions(), SampleSet([[0.0, 1.0, 2.0]]))
    assert compared(task) == ({"zeros": 3.0}, {"zeros": 3.0})
