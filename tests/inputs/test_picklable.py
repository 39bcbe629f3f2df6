"""Models of `bentoml.picklable_model` are read only where the recipe trusts them, and known by their file."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.inputs import picklable
from quantbento.inputs.source import NamedModel
from quantbento.recipe import ModelSpec
from tests.jobs import load_source, numbers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated")


class Trap:
    """Unpickling it is seen."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


@pytest.fixture
def stored(bento_home):
    """The tag under which a value is stored, as BentoML's users did."""
    import bentoml

    return lambda value, name="theirs": str(bentoml.picklable_model.save_model(name, value).tag)


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5)).double()


def test_it_is_a_source_in_float32_and_eval_mode(stored):
    source = load_source(ModelSpec(picklable=stored(module()), trusted=True), "tensor")
    x = torch.from_numpy(numbers(3, 8))
    assert source.kind == "module"
    torch.testing.assert_close(source.module(x), module().float().eval()(x))


def test_it_is_not_read_without_trust():
    with pytest.raises(ValidationError, match=r"reading one runs the code in it; .* add trusted: true"):
        ModelSpec(picklable="theirs:v1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"factory": "a:b", "trusted": True}, "trusted goes with picklable"),
        ({"picklable": "a:v", "trusted": True, "subfolder": "b"}, "subfolder does not go with picklable"),
        ({"picklable": "a:v", "trusted": True, "trust_remote_code": True}, "picklable takes trusted: true"),
        ({"picklable": "a:v", "trusted": True, "factory": "a:b"}, "exactly one of .*'picklable'.* is needed, not 2"),
    ],
    ids=["not-picklable", "subfolder", "trust-remote-code", "two"],
)
def test_keys_that_do_not_go_with_it_are_refused(more, message):
    with pytest.raises(ValidationError, match=message):
        ModelSpec(**more)


def test_its_identity_is_found_without_reading_it(stored):
    first = stored(Trap())
    named = NamedModel(ModelSpec(picklable="theirs:latest", trusted=True))
    before = named.identity()
    named.check_files()
    assert before["picklable"] == first
    assert NamedModel(ModelSpec(picklable="theirs", trusted=True)).identity() == before
    stored(module())
    assert NamedModel(ModelSpec(picklable="theirs:latest", trusted=True)).identity()["sha256"] != before["sha256"]


def test_what_is_no_such_model_is_one_sentence(stored, demo_model):
    with pytest.raises(QuantbentoError, match=r"no model 'nothing:v1' in the store: .*bentoml models list"):
        picklable.identity("nothing:v1")
    with pytest.raises(QuantbentoError, match=r"was stored without a framework; `picklable` takes what bentoml.pick"):
        picklable.identity("demo-int8")
    with pytest.raises(QuantbentoError, match=r"holds a dict; a torch.nn.Module is needed"):
        picklable.read(stored({"weights": 1}, "a-dict"))
    int8 = torch.ao.quantization.quantize_dynamic(module().float(), {nn.Linear}, torch.qint8)
    with pytest.raises(QuantbentoError, match=r"is quantized already \(0\); name the model in full precision"):
        picklable.read(stored(int8, "int8"))
