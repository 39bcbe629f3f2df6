"""One input: what shapes it takes, how items are stacked, and how it is described."""

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.tasks.tensor.inputs import Input

IMAGE = Input("image", "uint8", (3, None, None), (3, 4, 5))
STATE = Input("state", "float32", (2, 8), (2, 8), batch_axis=1)
RATE = Input("rate", "int64", (), (), batch_axis=None, value=16000)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 1, 9)])
def test_a_free_axis_takes_any_size(shape):
    assert IMAGE.check(np.zeros(shape, np.uint8)).shape == shape


@pytest.mark.parametrize("shape", [(4, 4, 5), (3, 0, 5), (3, 4), (1, 3, 4, 5), ()])
def test_other_shapes_are_refused_with_the_one_that_is_taken(shape):
    with pytest.raises(InvalidInput, match=r"^image must have shape \(3, any, any\), not "):
        IMAGE.check(np.zeros(shape, np.uint8))


def test_items_are_stacked_where_the_batch_is():
    assert STATE.batch([np.zeros((2, 8)), np.ones((2, 8))]).shape == (2, 2, 8)
    assert STATE.batch([np.zeros((2, 8)), np.ones((2, 8))])[:, 1].all()
    assert IMAGE.batch([np.zeros((3, 4, 5))] * 7).shape == (7, 3, 4, 5)
    assert RATE.batch([np.asarray(8000), np.asarray(8000)]) == 8000


def test_axes_that_differ_between_batches():
    assert IMAGE.dynamic_axes == (0, 2, 3)
    assert STATE.dynamic_axes == (1,)
    assert RATE.dynamic_axes == ()
    assert Input("x", "float32", (None, 4, None), (1, 4, 1), batch_axis=1).dynamic_axes == (1, 0, 3)


def test_an_example_is_taken():
    for known in (IMAGE, STATE, RATE):
        assert known.check(known.example()).dtype == known.dtype
    assert RATE.example() == 16000
    assert IMAGE.example().all(), "a zero may be no entry of a table, or a length of nothing"
    assert not STATE.example().any()


def test_a_schema_gives_type_range_and_sizes_and_leaves_free_ones_open():
    image = IMAGE.schema()
    assert (image["minItems"], image["maxItems"]) == (3, 3)
    rows = image["items"]
    assert rows["minItems"] == 1 and "maxItems" not in rows
    assert rows["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
    assert image["description"] == "uint8, shape (3, any, any)"
    assert RATE.schema()["type"] == "integer"
    assert Input("x", "bool", (1,), (1,)).schema()["items"] == {"type": "boolean"}
    assert STATE.schema()["items"]["items"] == {"type": "number"}
