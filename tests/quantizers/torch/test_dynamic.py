"""Only chosen layers become INT8, close to the original, in an artifact that loads without the project."""

import copy
import importlib

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import job_of, numbers, quantized, run_elsewhere, text_job

PROJECT_MODULE = """
from torch import nn

FACTOR = 3.0

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 4)

    def forward(self, x):
        return FACTOR * self.linear(x)
"""
ANSWERS = """
import sys
from pathlib import Path
import numpy as np
from quantbento.runtimes import artifact
predictor = artifact.load(Path(sys.argv[1]), threads=1)
np.save(sys.argv[3], np.stack(predictor(list(np.load(sys.argv[2])))))
"""


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, steps):
        return self.head(self.lstm(steps)[0][:, -1])


class Uneven(nn.Module):
    """Channels of sizes from 1 to 1000, scaled to one size afterwards."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(32, 8, bias=False)
        self.register_buffer("scale", torch.logspace(0, 3, 8))
        self.linear.weight.data *= self.scale[:, None]

    def forward(self, x):
        return self.linear(x) / self.scale


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)).eval()


def fidelity(module, predictor, inputs):
    with torch.no_grad():
        expected = module(torch.from_numpy(np.stack(inputs))).numpy()
    return sqnr_db(expected, np.stack(predictor(inputs)))


def test_every_linear_layer_is_quantized(mlp, tmp_path):
    inputs = list(numbers(20, 16))
    done, predictor = quantized(job_of(mlp, inputs, tmp_path), "torch-dynamic", tmp_path / "int8")
    assert done.counts == {"Linear": 3}
    assert done.quantized_parameters == 16 * 32 + 32 * 32 + 32 * 4
    assert done.parameters == done.quantized_parameters + 32 + 32 + 4
    assert done.left_out == []
    assert 25 < fidelity(mlp, predictor, inputs) < 100  # near the original, and not the original itself
    assert [type(predictor.runtime.module[i]) for i in (0, 2, 4)] == [torch.ao.nn.quantized.dynamic.Linear] * 3


@pytest.mark.parametrize(
    ("options", "layers"),
    [({"include": ["0"]}, ["0"]), ({"exclude": ["4"]}, ["0", "2"]), ({"include": ["[02]"], "exclude": ["0"]}, ["2"])],
    ids=["include", "exclude", "both"],
)
def test_patterns_choose_layers(mlp, tmp_path, options, layers):
    done, predictor = quantized(job_of(mlp, [numbers(16)], tmp_path), "torch-dynamic", tmp_path / "int8", **options)
    changed = [n for n, m in predictor.runtime.module.named_children() if "quantized" in type(m).__module__]
    assert changed == layers
    assert done.counts == {"Linear": len(layers)}


def test_the_source_module_is_not_changed(mlp, tmp_path):
    before = copy.deepcopy(mlp.state_dict())
    quantized(job_of(mlp, [numbers(16)], tmp_path), "torch-dynamic", tmp_path / "int8")
    assert [type(m) for m in mlp] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert not any(hasattr(m, "qconfig") for m in mlp.modules())
    assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())


def test_per_channel_weights_are_closer_where_channels_are_uneven(tmp_path):
    torch.manual_seed(0)
    module, inputs = Uneven().eval(), list(numbers(50, 32))
    by_scheme = {}
    for per_channel in (True, False):
        folder = tmp_path / str(per_channel)
        _, predictor = quantized(job_of(module, inputs, tmp_path), "torch-dynamic", folder, per_channel=per_channel)
        by_scheme[per_channel] = fidelity(module, predictor, inputs)
    assert by_scheme[True] > by_scheme[False] + 10


def test_recurrent_layers_are_quantized(tmp_path):
    torch.manual_seed(0)
    module, inputs = Reader().eval(), list(numbers(10, 5, 8))
    done, predictor = quantized(job_of(module, inputs, tmp_path), "torch-dynamic", tmp_path / "int8")
    assert done.counts == {"LSTM": 1, "Linear": 1}
    assert done.quantized_parameters == 4 * 16 * (8 + 16) + 16 * 3
    assert fidelity(module, predictor, inputs) > 25


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (nn.Conv1d(2, 2, 1), {}, "would quantize nothing: the model has 0 layers it can quantize"),
        (nn.Sequential(nn.Linear(3, 2)), {"exclude": ["*"]}, "has 1 layers it can quantize .* the patterns leave none"),
        (nn.Sequential(nn.Linear(3, 2)), {"include": ["head"]}, "pattern 'head' matches no quantizable module"),
        (nn.Linear(3, 2), {}, "quantized none of the 1 layers that were chosen"),
    ],
    ids=["no-such-layer", "all-excluded", "no-such-name", "a-bare-layer"],
)
def test_nothing_to_quantize_is_an_error(module, options, message, tmp_path):
    with pytest.raises(QuantbentoError, match=message):
        quantized(job_of(module, [numbers(2, 3)], tmp_path), "torch-dynamic", tmp_path / "int8", **options)


@pytest.mark.slow
def test_a_project_s_module_loads_where_the_project_is_not(tmp_path, monkeypatch):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (project / "project_of_scaled.py").write_text(PROJECT_MODULE)
    monkeypatch.syspath_prepend(project)
    module = importlib.import_module("project_of_scaled").Scaled()
    inputs = numbers(6, 16)
    _, predictor = quantized(job_of(module, list(inputs), tmp_path), "torch-dynamic", elsewhere / "int8")
    np.save(elsewhere / "inputs.npy", inputs)
    run_elsewhere(ANSWERS, elsewhere, "int8", "inputs.npy", "answers.npy")
    np.testing.assert_array_equal(np.load(elsewhere / "answers.npy"), np.stack(predictor(list(inputs))))


def test_the_artifact_is_a_quarter_of_the_original(tmp_path):
    from quantbento.runtimes import torch as runtime

    module = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256)).eval()
    job = job_of(module, [numbers(256)], tmp_path)
    quantized(job, "torch-dynamic", tmp_path / "int8")
    (tmp_path / "fp32").mkdir()
    runtime.save(module, tmp_path / "fp32")
    assert artifact.size_bytes(tmp_path / "int8") / artifact.size_bytes(tmp_path / "fp32") < 0.28


def test_gpt2s_layers_are_quantized_too(tmp_path):
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    gpt2 = GPT2Model(GPT2Config(vocab_size=8, n_positions=16, n_embd=32, n_layer=2, n_head=2))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.gpt2 = gpt2

        def forward(self, embedded):
            return self.gpt2(inputs_embeds=embedded, use_cache=False).last_hidden_state

    inputs = list(numbers(6, 5, 32))
    job = job_of(Encoder(), inputs, tmp_path)
    done, predictor = quantized(job, "torch-dynamic", tmp_path / "int8")
    linear = sum(
        p.numel() for n, p in gpt2.named_parameters() if n.startswith("h.") and n.endswith("weight") and p.ndim == 2
    )
    assert done.counts == {"Linear": 8}
    assert done.quantized_parameters == linear
    with torch.inference_mode():
        expected = job.source.module(torch.from_numpy(np.stack(inputs))).numpy()
    assert 20 < sqnr_db(expected, np.stack(predictor(inputs))) < 100
    assert type(gpt2.h[0].mlp.c_fc).__name__ == "Conv1D"  # the source stays as it was


@pytest.fixture(scope="module")
def gpt2_checkpoint(tmp_path_factory):
    """Random weights; its head shares the embedding table, as in GPT-2 itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    vocabulary = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=256, n_positions=128, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    module = GPT2LMHeadModel(config)
    folder = tmp_path_factory.mktemp("gpt2")
    module.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def test_a_gpt2_language_model_is_quantized_and_generates(gpt2_checkpoint, tmp_path):
    job = text_job(gpt2_checkpoint, "text-generation", ["a prompt"], tmp_path)
    done, generator = quantized(job, "torch-dynamic", tmp_path / "int8")
    source, module = job.source.module, generator.runtime.module
    assert source.lm_head.weight is source.transformer.wte.weight
    linear = [m.weight for m in source.modules() if type(m).__name__ in ("Conv1D", "Linear")]
    int8 = [m.weight() for m in module.modules() if isinstance(m, torch.ao.nn.quantized.dynamic.Linear)]
    assert {w.dtype for w in int8} == {torch.qint8}
    assert sum(w.numel() for w in int8) >= 0.95 * sum(w.numel() for w in linear)
    assert done.counts == {"Linear": 9}
    assert done.quantized_parameters == sum(w.numel() for w in int8)
    # The head is now a quantized copy of the embeddings, which stay unchanged: both exist, and both count.
    assert done.parameters == sum(p.numel() for p in source.parameters()) + source.lm_head.weight.numel()
    tokens = np.random.default_rng(0).integers(0, 256, (4, 32))
    with torch.inference_mode():
        expected, found = (m(torch.from_numpy(tokens)).logits.numpy() for m in (source, module))
    assert 25 < sqnr_db(expected, found) < 100
    assert generator(["a prompt"])[0]["tokens_generated"] > 0
