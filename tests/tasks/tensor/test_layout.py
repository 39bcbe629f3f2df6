"""The batch is found in the outputs by running the model, wherever it stands."""

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.tensor.layout import look

INPUT = Input("x", "float32", (4,), (4,))
ITEM = {"x": np.zeros(4, np.float32)}


def of(run, inputs=(INPUT,), item=ITEM, fixed=None, **wanted):
    return look(lambda batch: {n: v.shape for n, v in run(batch["x"]).items()}, inputs, item, fixed, wanted)


def test_the_axis_that_counts_the_items_is_the_batch():
    layout = of(lambda x: {"first": x, "second": np.zeros((2, len(x), 2)), "last": np.zeros((3, 2, len(x)))})
    assert layout.outputs == {"first": 0, "second": 1, "last": 2}
    assert (layout.batch, layout.notes) == (None, [])


@pytest.mark.parametrize(
    "output",
    [
        lambda x: x.mean(),
        lambda x: np.zeros((len(x), len(x))),  # each item with each
        lambda x: np.zeros((2 * len(x), 5)),  # two boxes an item
        lambda x: np.zeros((7, 3)),  # anchors
        lambda x: np.zeros((1,) * len(x)),
    ],
    ids=["mean", "pairs", "boxes", "constant", "dimensions"],
)
def test_an_output_without_the_batch_makes_items_run_one_by_one(output):
    layout = of(lambda x: {"rows": x, "other": np.asarray(output(x))})
    assert layout.outputs == {"rows": 0, "other": None}
    assert layout.batch == 1
    assert layout.notes == ["the output 'other' has no axis for the batch: items run one by one"]


def only(count):
    def run(x):
        if len(x) != count:
            raise RuntimeError("another size")
        return {"y": np.zeros((5, count)), "z": x}

    return run


def test_a_model_that_takes_one_item_only_is_found_out():
    layout = of(only(1))
    assert (layout.outputs, layout.batch) == ({"y": 1, "z": 0}, 1)
    assert layout.notes == ["the model takes 1 item at a time: items run one by one"]


def test_a_batch_that_the_graph_fixes_is_the_only_one_tried():
    layout = of(only(6), fixed=6)
    assert (layout.outputs, layout.batch) == ({"y": 1, "z": 0}, 6)
    assert layout.notes == ["the model takes 6 items at a time: items run one by one"]


def test_without_any_batch_outputs_are_given_whole():
    alone = Input("x", "float32", (4,), (4,), batch_axis=None)
    layout = of(lambda x: {"y": x}, inputs=(alone,))
    assert (layout.outputs, layout.batch) == ({"y": None}, 1)


def test_a_recipe_s_word_for_an_output_is_checked():
    def run(x):
        return {"y": np.zeros((len(x), len(x)))}

    layout = of(run, y=1)
    assert (layout.outputs, layout.batch) == ({"y": 1}, None)
    assert of(lambda x: {"y": x}, y=None).batch == 1
    for axis in (0, 5):
        with pytest.raises(QuantbentoError, match=f"'y' has the shape .* for 2 items; axis {axis} is not the batch"):
            of(lambda x: {"y": np.zeros((3, len(x)))}, y=axis)


def test_a_model_that_does_not_run_at_all_is_said_with_the_shapes():
    with pytest.raises(QuantbentoError, match=r"does not run on inputs shaped as the samples {'x': \[4\]}: RuntimeErr"):
        of(only(9))
