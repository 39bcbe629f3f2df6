"""Pickled modules answer as the originals did, in the number format asked for."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.torch import TorchRuntime, named_outputs, save
from tests.jobs import numbers


class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids, weights):
        return {"scores": self.head(self.table(ids).mean(1)) * weights, "ids": ids}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Lookup().eval()


@pytest.fixture
def batch():
    return {"ids": np.array([[1, 2, 3], [4, 5, 6]]), "weights": numbers(2, 2)}


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(folder, threads=1, **config):
    return TorchRuntime.load(folder, {"output_names": ["scores"], **config}, threads=threads)


def test_a_saved_module_answers_the_same(module, batch, tmp_path):
    save(module, tmp_path)
    with torch.no_grad():
        expected = module(**{n: torch.from_numpy(v) for n, v in batch.items()})["scores"].numpy()
    found = load(tmp_path).run(batch)
    assert list(found) == ["scores"]  # only the outputs that were named
    np.testing.assert_array_equal(found["scores"], expected)


def test_bf16_casts_weights_and_float_inputs_but_not_ids(module, batch, tmp_path):
    save(module, tmp_path)
    runtime = load(tmp_path, dtype="bfloat16")
    assert {p.dtype for p in runtime.module.parameters()} == {torch.bfloat16}
    found, expected = runtime.run(batch)["scores"], load(tmp_path).run(batch)["scores"]
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_loaded_module_is_in_evaluation_mode(tmp_path):
    save(nn.Sequential(nn.Dropout(0.9)).train(), tmp_path)
    found = load(tmp_path, output_names=["output"]).run({"input": np.ones((4, 5), dtype=np.float32)})
    np.testing.assert_array_equal(found["output"], np.ones((4, 5)))


def test_batches_that_are_views_run(tmp_path):
    save(nn.Sequential(nn.Identity()), tmp_path)
    runtime = load(tmp_path, output_names=["output"])
    reversed_view = numbers(4, 5)[::-1, ::-1]
    np.testing.assert_array_equal(runtime.run({"input": reversed_view})["output"], reversed_view)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_set(module, tmp_path, threads):
    save(module, tmp_path)
    load(tmp_path, threads=threads)
    assert torch.get_num_threads() == threads


def test_torch_runs_one_chunk_at_a_time(module, tmp_path):
    save(module, tmp_path)
    assert load(tmp_path).concurrent is False


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (torch.ones(1), ["output"]),
        ((torch.ones(1), torch.ones(2)), ["output_0", "output_1"]),
        ([torch.ones(1)], ["output_0"]),
        ({"a": torch.ones(1), "cache": None, "b": torch.ones(2)}, ["a", "b"]),
    ],
    ids=["tensor", "tuple", "list", "mapping"],
)
def test_outputs_get_names(result, names):
    assert list(named_outputs(result)) == names


@pytest.mark.parametrize(
    ("result", "named"),
    [("text", "a str"), ((torch.ones(1), (torch.ones(1),)), "a tuple of Tensor, tuple"), (None, "a NoneType")],
    ids=["string", "nested", "none"],
)
def test_other_outputs_are_refused(result, named):
    with pytest.raises(QuantbentoError, match=f"a tensor, a tuple or a mapping of tensors, not {named}$"):
        named_outputs(result)
