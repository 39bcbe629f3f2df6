"""Adapters beside one loaded model answer differently, and each as when it is merged into the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.core.files import link_checkpoint
from quantbento.inputs import adapters as files
from quantbento.inputs.checkpoint import inspect
from quantbento.inputs.modules import merge_adapter, read_folder
from quantbento.making.unjudged import layers
from quantbento.making.unjudged.tensors import CheckpointTensors
from quantbento.runtimes.adapters import adapter_folders, lora_arguments
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.transformers import TransformersRuntime
from quantbento.runtimes.vllm import VllmRuntime
from tests.trained_adapters import write_two
from tests.trained_llama import job_of_trained

PROMPT = "def __init__(self, "
SMALL = {"engine": {"kv_cache_gib": 0.25, "max_model_len": 128}}


@pytest.fixture(scope="module")
def two(trained_llama, tmp_path_factory) -> dict[str, Path]:
    return write_two(trained_llama, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def job(trained_llama, two, tmp_path_factory):
    job = job_of_trained(trained_llama, tmp_path_factory.mktemp("job"))
    job.adapters = two
    return job


@pytest.fixture(scope="module")
def prompt(job) -> list[int]:
    return job.task.text_ids(PROMPT)


def beside(job, kind, folder: Path, config=None):
    """Full precision with the adapters beside it."""
    written = kind.write_reference(job, folder, "bfloat16")
    return kind.load(folder, {**written, **(config or {}), "adapters": files.write(job.adapters, folder)}, threads=1)


@pytest.fixture(scope="module")
def loaded(job, tmp_path_factory):
    return beside(job, TransformersRuntime, tmp_path_factory.mktemp("beside"))


@pytest.fixture(scope="module")
def merged(job, tmp_path_factory):
    return all_merged(job, job.source.folder, tmp_path_factory.mktemp("merged"))


def all_merged(job, base: Path, workspace: Path) -> dict[str, TransformersRuntime]:
    """By adapter, a model that it was merged into, in float32: bfloat16 rounds the sum of both."""
    models = {}
    for name, adapter in job.adapters.items():
        folder = workspace / name
        merge_adapter(read_folder(base, "AutoModelForCausalLM", False), adapter).save_pretrained(folder)
        job.task.save(folder)
        models[name] = TransformersRuntime.load(folder, {}, threads=1)
    return models


def dequantized(quantized: Path, source: Path, folder: Path) -> Path:
    """The source with the weights that a quantized checkpoint stands for, in float32."""
    model = read_folder(source, "AutoModelForCausalLM", False)
    config = json.loads((quantized / "config.json").read_text())["quantization_config"]
    tensors = CheckpointTensors(quantized)
    found = layers.quantized_layers(layers.parsed(config), inspect(source).linears)
    assert len(found) == 14
    for layer in found:
        model.get_submodule(layer.name).weight.data = layer.weight(tensors).float()
    model.save_pretrained(folder)
    return folder


def test_vllm_has_room_for_the_largest_rank():
    assert lora_arguments({}) == {}
    red, blue = {"rank": 4, "modules": ["v_proj", "q_proj"]}, {"rank": 17, "modules": ["q_proj"]}
    made = lora_arguments({"red": red, "blue": blue})
    rooms = {"enable_lora": True, "max_lora_rank": 32, "max_loras": 2, "max_cpu_loras": 2}
    assert made == rooms | {"lora_target_modules": ["q_proj", "v_proj"]}


def test_an_adapter_lies_in_a_folder_of_its_name(tmp_path):
    assert adapter_folders(tmp_path, ["red"]) == {"red": tmp_path / "adapters" / "red"}


@pytest.mark.slow
def test_another_adapter_is_refused_with_those_there_are(loaded):
    with pytest.raises(QuantbentoError, match=r"no adapter 'reed' \(loaded: 'red' or 'blue'\); did you mean 'red'"):
        loaded.with_adapter("reed")


def check_as_when_merged(loaded, merged, job, prompt):
    windows = job.task.windows(job.samples.inputs)[:4]
    texts = {None: loaded.generate([prompt], Sampling(max_tokens=12))[0].text}
    plain = loaded.score(windows, 2)["token_logprobs"]
    for name, whole in merged.items():
        adapted = loaded.with_adapter(name)
        texts[name] = adapted.generate([prompt], Sampling(max_tokens=12))[0].text
        own, other = (model.score(windows, 2)["token_logprobs"] for model in (adapted, whole))
        assert np.abs(own - other).mean() < 0.05
        assert np.abs(own - plain).mean() > 1  # the adapter changes much
    assert len(set(texts.values())) == 3
    again = loaded.score(windows, 2)["token_logprobs"]
    assert np.abs(again - plain).mean() < 1e-3  # asked without an adapter, the model is itself again


@pytest.mark.slow
def test_transformers_answers_with_each_as_when_it_is_merged(loaded, merged, job, prompt):
    check_as_when_merged(loaded, merged, job, prompt)
    [text] = loaded.with_adapter("blue").generate([prompt], Sampling(max_tokens=12))
    pieces = "".join(loaded.with_adapter("blue").stream(prompt, Sampling(max_tokens=12)))
    assert pieces == text.text


@pytest.mark.vllm
@pytest.mark.slow
def test_vllm_answers_with_each_as_when_it_is_merged(job, merged, prompt, tmp_path):
    engine = beside(job, VllmRuntime, tmp_path, SMALL)
    try:
        check_as_when_merged(engine, merged, job, prompt)
    finally:
        engine.close()


@pytest.mark.vllm
@pytest.mark.slow
def test_vllm_answers_with_each_as_when_it_is_merged_into_the_int4_weights(made, job, prompt, tmp_path):
    quantized = made("rtn", group_size=64).folder
    base = dequantized(quantized, job.source.folder, tmp_path / "dequantized")
    merged = all_merged(job, base, tmp_path / "merged")
    folder = tmp_path / "int4"
    folder.mkdir()
    link_checkpoint(quantized, folder)
    engine = VllmRuntime.load(folder, {**SMALL, "adapters": files.write(job.adapters, folder)}, threads=2)
    try:
        check_as_when_merged(engine, merged, job, prompt)
    finally:
        engine.close()
