"""Shapes, batch axes and free sizes, from a graph's own and from the samples."""

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.tensor.learned import arrays_of, learned
from quantbento.tasks.tensor.options import TensorOptions


def of(dims, *shapes, **options):
    found = learned("x", "float32", dims, [np.zeros(s, np.float32) for s in shapes], TensorOptions(**options))
    return found.shape, found.batch_axis


@pytest.mark.parametrize(
    ("dims", "shape", "expected"),
    [
        (["N", 3], (3,), ((3,), 0)),
        (["", 3, "", ""], (3, 48, 192), ((3, None, None), 0)),
        ([2, "", 128], (2, 128), ((2, 128), 1)),
        ([2, "batch", "units"], (2, 128), ((2, None), 1)),
        (["sequence", "batch", 4], (7, 4), ((None, 4), 1)),
        (["N", "M", 4], (7, 4), ((None, 4), 0)),
        ([1, 3, 8], (3, 8), ((3, 8), 0)),
        ([1, "time", 80], (9, 80), ((None, 80), 0)),
        ([2, 1, 64], (2, 64), ((2, 64), 1)),
        ([], (), ((), None)),
        ([1, 3, 8], (1, 3, 8), ((1, 3, 8), None)),
        ([10], (10,), ((10,), None)),
    ],
    ids=str,
)
def test_the_batch_is_where_the_graph_has_an_axis_more_than_the_samples(dims, shape, expected):
    assert of(dims, shape) == expected


@pytest.mark.parametrize(
    ("dims", "shape"),
    [(["N", 3], (4,)), (["N", 3], (2, 3)), ([1, 3], (4,)), (["N"], (3, 3)), ([2, 3], (2, 4)), ([4, "T"], (7,))],
    ids=str,
)
def test_samples_that_do_not_fit_the_graph_are_refused_with_both_shapes(dims, shape):
    with pytest.raises(QuantbentoError, match=r"'x' has the shape \[.*\], and the samples' have .*batch_axis: {x: 1}"):
        of(dims, shape)


def test_a_recipe_says_where_the_batch_is_and_that_there_is_none():
    assert of(["a", "b", 4], (7, 4), batch_axis={"x": 1}) == ((None, 4), 1)
    assert of(["rows", 4], (7, 4), batch_axis={"x": None}) == ((None, 4), None)
    with pytest.raises(QuantbentoError, match="'x' has 2 axes in the graph, no axis 2"):
        of(["rows", 4], (7, 4), batch_axis={"x": 2})


def test_a_module_s_free_sizes_are_those_in_which_samples_differ():
    assert of(None, (3, 8), (3, 8)) == ((3, 8), 0)
    assert of(None, (3, 8), (3, 9)) == ((3, None), 0)
    with pytest.raises(QuantbentoError, match="different numbers of axes"):
        of(None, (3, 8), (3, 8, 1))


def test_a_recipe_says_which_sizes_are_free():
    assert of(None, (3, 8, 8), free={"x": [1, -1]}) == ((3, None, None), 0)
    assert of(None, (3, 8), (3, 9), free={"x": [0]}) == ((None, 8), 0)
    assert of(["N", 3, "H", "W"], (3, 8, 8), free={"x": [1]}) == ((3, None, 8), 0)
    with pytest.raises(QuantbentoError, match="an item of 'x' has 2 axes, no axis 2"):
        of(None, (3, 8), free={"x": [2]})
    with pytest.raises(QuantbentoError, match="axis 0 of an item of 'x' has the size 3 in the graph"):
        of(["N", 3, "H"], (3, 8), free={"x": [0]})


def test_only_a_lone_shared_number_is_kept_of_the_samples():
    sample = np.asarray(16000)
    assert learned("x", "int64", [], [sample], TensorOptions()).value == 16000
    assert learned("x", "int64", None, [sample], TensorOptions()).value is None
    shared = TensorOptions(batch_axis={"x": None})
    assert learned("x", "float32", None, [np.ones(4, np.float32)], shared).value is None


def test_samples_are_sorted_by_input_and_must_name_what_the_model_has():
    given = arrays_of([{"b": [1, 2], "a": 3}], ["a", "b", "c"], every=False)
    assert {name: values[0].tolist() for name, values in given.items()} == {"a": 3, "b": [1, 2]}
    assert list(given) == ["a", "b"]
    assert list(arrays_of([[1.0]], ["a"], every=True)) == ["a"]
    with pytest.raises(QuantbentoError, match="the samples lack inputs of the model: 'c'"):
        arrays_of([{"b": [1, 2], "a": 3}], ["a", "b", "c"], every=True)
    with pytest.raises(QuantbentoError, match=r"does not have: 'lefd'; did you mean 'left'\?"):
        arrays_of([{"lefd": 1}], ["left"], every=True)
    with pytest.raises(QuantbentoError, match="samples cannot be used: a must be an array of numbers: it holds text"):
        arrays_of([{"a": ["x"]}], ["a"], every=True)
