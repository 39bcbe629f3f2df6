"""What is written for vLLM's pooling runner, read back without vLLM. That vLLM loads it: test_vllm_pooling.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.llm.pooling import PoolingCheckpoint, PoolingOptions
from quantbento.tasks.metrics import output_metrics
from tests.jobs import job_of, text_job

TEXTS = ["good film", "a dull plot"]
# Signal-to-noise of one rounded matrix of normal numbers: 8 bits with a scale per row; 3 bits of mantissa.
SQNR_DB = {"W8A8": 40, "FP8_DYNAMIC": 29}


@pytest.fixture
def job(tiny_encoder, tmp_path):
    return text_job(tiny_encoder, "feature-extraction", TEXTS, tmp_path / "work")


def written(job, folder: Path, scheme: str):
    folder.mkdir()
    done = PoolingCheckpoint().quantize(job, PoolingOptions(scheme=scheme), folder)
    return done, load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(("scheme", "dtype"), [("BF16", torch.bfloat16), ("FP16", torch.float16)])
def test_16_bit_holds_every_weight_in_it_and_leaves_the_source_alone(job, tmp_path, scheme, dtype):
    done, tensors, config = written(job, tmp_path / "out", scheme)
    own = job.source.module.state_dict()
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {dtype}
    assert all(t.dtype == torch.float32 for t in own.values() if t.is_floating_point())
    assert all(torch.equal(tensors[n], own[n].to(dtype)) for n in tensors if tensors[n].is_floating_point())
    assert (config["architectures"], config["dtype"]) == (["BertModel"], str(dtype).removeprefix("torch."))
    assert done.quantized_parameters == done.parameters == sum(p.numel() for p in job.source.module.parameters())
    assert done.runtime_config == {
        "task": "embed",
        "pooling": "MEAN",
        "dtype": str(dtype).removeprefix("torch."),
        "max_length": 32,
    }


@pytest.mark.parametrize("scheme", SQNR_DB)
def test_8_bit_rounds_the_blocks_layers_and_keeps_the_rest(job, tmp_path, scheme):
    done, tensors, config = written(job, tmp_path / "out", scheme)
    kind = {"W8A8": torch.int8, "FP8_DYNAMIC": torch.float8_e4m3fn}[scheme]
    eight = [name.removesuffix(".weight") for name, t in tensors.items() if t.dtype == kind]
    linears = {n: m for n, m in job.source.module.named_modules() if isinstance(m, nn.Linear)}
    assert set(eight) == {name for name in linears if name.startswith("encoder.layer.")}
    assert len(eight) == 12 and done.counts == {f"{scheme} layers": 12}
    assert done.quantized_parameters == sum(linears[name].weight.numel() for name in eight)
    for name in eight:
        back = tensors[f"{name}.weight"].float() * tensors[f"{name}.weight_scale"].float()
        exact = linears[name].weight.detach()
        found = output_metrics({"w": exact.numpy()}, {"w": back.numpy()})["sqnr_db"]
        assert found > SQNR_DB[scheme]
    quantization = config["quantization_config"]
    assert quantization["quant_method"] == "compressed-tensors"
    assert quantization["ignore"] == ["pooler.dense"]
    assert quantization["config_groups"]["group_0"]["targets"] == ["Linear"]
    assert PoolingCheckpoint().scheme_of(PoolingOptions(scheme=scheme)) == scheme


def test_a_model_without_blocks_has_nothing_in_8_bit(job, tmp_path):
    job.source.module.encoder.layer = nn.ModuleList()
    with pytest.raises(QuantbentoError, match="0 of 0 linear layers in blocks"):
        written(job, tmp_path / "out", "W8A8")


def test_a_module_that_is_not_in_hub_format_is_refused(tmp_path):
    with pytest.raises(QuantbentoError, match="runs models in hub format; this one is none"):
        written(job_of(nn.Linear(4, 4), [torch.ones(4).numpy()], tmp_path), tmp_path / "out", "BF16")


@pytest.mark.parametrize(
    ("task", "runs"),
    [
        ("feature-extraction", True),
        ("text-classification", True),
        ("text-ranking", True),
        ("token-classification", True),
        ("image-classification", False),
        ("image-feature-extraction", False),
        ("tensor", False),
        ("text-generation", False),
    ],
)
def test_it_serves_tasks_of_texts(task, runs):
    found = registry.runtime_of(PoolingCheckpoint, registry.task(task))
    assert (found is not None) == runs
