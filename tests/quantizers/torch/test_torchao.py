"""Linear layers become INT8 tensors of torchao, as many as were chosen, and load again with the package alone."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.torch.torchao import TorchAo, TorchAoOptions
from quantbento.tasks.metrics import sqnr_db
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, quantized, text_job


@pytest.fixture
def job(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 32))
    return job_of(module, list(numbers(20, 64)), tmp_path)


def quality(job, predictor):
    with torch.no_grad():
        expected = job.source.module(torch.from_numpy(np.stack(job.samples.inputs))).numpy()
    return sqnr_db(expected, np.stack(predictor(job.samples.inputs)))


@pytest.mark.parametrize(
    ("config", "scheme", "least"),
    [("Int8DynamicActivationInt8Weight", "int8-dynamic", 30), ("Int8WeightOnly", "W8A32", 40)],
)
def test_every_linear_layer_is_quantized(job, tmp_path, config, scheme, least):
    done, predictor = quantized(job, "torchao", tmp_path / "q", config=config)
    assert done.counts == {"Linear": 2}
    assert done.quantized_parameters == 64 * 128 + 128 * 32
    assert done.parameters == done.quantized_parameters + 128 + 32
    assert least < quality(job, predictor) < 80
    assert TorchAo().scheme_of(TorchAoOptions(config=config)) == scheme
    assert (tmp_path / "q" / "model.pkl").stat().st_size < 0.6 * 4 * done.parameters
    assert type(job.source.module[0].weight) is nn.Parameter, "the source is not changed"


def test_an_encoder_keeps_its_embeddings(tiny_encoder, tmp_path):
    job = text_job(tiny_encoder, "feature-extraction", labelled_texts(6, seed=5)[0], tmp_path)
    done, predictor = quantized(job, "torchao", tmp_path / "q")
    assert done.counts == {"Linear": 2 * 6 + 1}  # and the pooler
    assert all(np.isfinite(vector).all() for vector in predictor(job.samples.inputs))


def test_layers_can_be_left_out(job, tmp_path):
    done, _ = quantized(job, "torchao", tmp_path / "q", exclude=["2"])
    assert done.counts == {"Linear": 1}
    with pytest.raises(QuantbentoError, match=r"would quantize nothing: the model has 2 linear layers"):
        quantized(job, "torchao", tmp_path / "r", exclude=["*"])


def test_what_there_are_no_kernels_for_is_refused(job, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("INT4 weights need a GPU, and there is one")
    with pytest.raises(QuantbentoError, match=r"torchao cannot do Int4WeightOnly here: .*; set config to another"):
        quantized(job, "torchao", tmp_path / "q", config="Int4WeightOnly")


@pytest.mark.parametrize(
    ("module", "said"),
    [(nn.Conv2d(1, 2, 3), "the model has 0 linear layers"), (nn.Linear(4, 4), None)],
)
def test_what_cannot_be_done_is_known_before(module, said):
    told = TorchAo().preflight_module(module, TorchAoOptions())
    assert (said is None and told == []) or said in told[0]


@pytest.mark.slow
def test_it_is_compiled_where_asked(job, tmp_path):
    done, predictor = quantized(job, "torchao", tmp_path / "q", compile=True)
    assert done.notes == ["compiled when it is loaded: the first answers take about a minute"]
    assert quality(job, predictor) > 30
    assert predictor.runtime.module._compiled_call_impl is not None
    alone = [predictor([item])[0] for item in job.samples.inputs[:3]]
    np.testing.assert_allclose(np.stack(alone), np.stack(predictor(job.samples.inputs[:3])), atol=1e-2)
