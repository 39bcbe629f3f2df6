"""The vision tower, the projector and the head of a vision-language model stay in 16 bit unless asked otherwise."""

from __future__ import annotations

import json

import pytest

from quantbento.core import registry
from quantbento.inputs import checkpoint
from quantbento.quantizers.llm import vision
from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointOptions, choose
from quantbento.runtimes import vllm
from tests import tiny_mixtures
from tests.trained_llama import job_of_trained


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return tiny_mixtures.write("llava", tmp_path_factory.mktemp("llava"))


def test_the_language_model_alone_is_chosen(llava):
    facts = checkpoint.inspect(llava)
    chosen = choose(facts, CheckpointOptions())
    assert len(chosen) == 2 * 7 and all(name.startswith("language_model.model.") for name in chosen)
    assert set(choose(facts, CheckpointOptions(vision=True))) == set(chosen) | set(facts.vision)
    (told,) = vision.notes(facts, chosen)
    assert told.startswith("14 layers of the vision tower and the projector stay in 16 bit: ")
    assert vision.notes(facts, list(facts.linears)) == []


def test_the_tower_takes_as_much_memory_as_before(llava):
    method, facts = registry.quantizer("rtn")(), checkpoint.inspect(llava)
    weights = sum(facts.linears[name][0] * facts.linears[name][1] for name in choose(facts, CheckpointOptions()))
    own = method.weight_bytes(facts, method.Options(group_size=32))
    assert own == pytest.approx(facts.size_bytes - weights * (16 - 4.5) / 8, abs=1)
    everything = method.weight_bytes(facts, method.Options(group_size=32, vision=True))
    assert everything < own
    assert method.weight_bytes(facts, method.Options(ignore=["*"])) is None  # preflight says what is wrong


def test_bitsandbytes_refuses_it(llava):
    method = registry.quantizer("bnb-nf4")()
    assert "use rtn" in method.preflight(checkpoint.inspect(llava), method.Options())[0]


def test_vllm_runs_it_where_torchvision_is(llava, monkeypatch):
    config = json.loads((llava / "config.json").read_text())
    runtime = registry.runtime("vllm")
    monkeypatch.setattr(vllm, "missing_packages", list)
    assert "with torchvision, not installed here" in str(runtime.model_problem("text-generation", config))
    assert runtime.model_problem("text-generation", config, here=False) is None
    assert runtime.model_problem("text-generation", {"model_type": "llama"}) is None
    monkeypatch.setattr(vllm, "missing_packages", lambda names: [])
    assert runtime.model_problem("text-generation", config) is None


@pytest.mark.slow
def test_it_is_quantized_and_scored_by_its_texts(llava, tmp_path):
    method = registry.quantizer("rtn")()
    job = job_of_trained(llava, tmp_path / "work")
    done = method.quantize(job, method.Options(group_size=32), tmp_path)
    assert done.counts == {"W4A16 layers": 14}
    after = checkpoint.tensors(tmp_path)
    assert after["vision_tower.encoder.layers.0.mlp.fc1.weight"][0] == "BF16"
    assert after["language_model.lm_head.weight"][0] == "BF16"
    assert {p.name for p in llava.glob("*processor_config.json")} == {
        p.name for p in tmp_path.glob("*processor_config.json")
    }
    job.task.tokenizer.save_pretrained(tmp_path)
    figures = []
    for folder in (llava, tmp_path):
        model = registry.runtime("transformers").load(folder, {}, threads=1)
        figures.append(float(model.score(job.calibration[:4, :32], 1)["token_logprobs"].mean()))
        model.close()
    assert abs(figures[0] - figures[1]) < 0.05
