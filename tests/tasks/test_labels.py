"""Names of outputs come from the recipe, else from the model."""

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.labels import config_labels, model_labels
from quantbento.tasks.source import SourceModel


@pytest.fixture
def source():
    import torch
    from transformers import BertConfig

    module = torch.nn.Module()
    module.config = BertConfig(id2label={0: "no", 1: "yes", 2: 3})
    return SourceModel(module)


def test_the_recipes_names_win(source):
    assert model_labels(source, None) == ["no", "yes", "3"]
    assert model_labels(source, ["a", "b", "c"]) == ["a", "b", "c"]
    with pytest.raises(QuantbentoError, match=r"task_options\.labels has 1 names; the model has 3"):
        model_labels(source, ["a"])


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_configuration_file_says_how_many_there_are(outputs):
    from transformers import BertConfig

    assert config_labels(BertConfig(num_labels=outputs).to_diff_dict()) == outputs
    assert config_labels({"num_labels": outputs}) == outputs
    assert config_labels({}) == 2
