"""Options name inputs and outputs of the model, and types that exist."""

import pytest
from pydantic import ValidationError

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.tensor.options import TensorOptions, check_names


def test_every_name_that_the_model_does_not_have_is_listed():
    options = TensorOptions(dtypes={"ids": "int64"}, free={"imge": [1]}, output_batch_axis={"scores": 1})
    with pytest.raises(QuantbentoError) as raised:
        check_names(options, ["image"], ["score"])
    said = str(raised.value)
    assert "task_options.dtypes names 'ids' (the model has 'image')" in said
    assert "task_options.free names 'imge'; did you mean 'image'?" in said
    assert "task_options.output_batch_axis names 'scores'; did you mean 'score'?" in said
    check_names(TensorOptions(batch_axis={"image": None}), ["image"], ["score"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtypes": {"x": "int"}},
        {"dtypes": {"x": "bfloat16"}},
        {"batch_axis": {"x": -1}},
        {"free": {"x": "all"}},
        {"a": 1},
    ],
    ids=str,
)
def test_other_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        TensorOptions(**wrong)
