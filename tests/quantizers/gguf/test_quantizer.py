"""With llama.cpp: each type is what it says, near full precision, and IQ types follow the calibration texts."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.inputs import gguf
from quantbento.quantizers.gguf import contents, quantize_worker
from quantbento.quantizers.gguf.quantizer import Gguf, GgufOptions
from quantbento.runtimes.llama_cpp import MODEL, LlamaCppRuntime
from tests.gguf_files import write_gguf
from tests.trained_llama import job_of_trained, write_trained_llama

TOP = 32


@pytest.fixture
def job(trained_llama, tmp_path, monkeypatch):
    """A job whose conversion is the file that the tests write."""
    monkeypatch.setattr(gguf, "convert", lambda source, path, progress: write_gguf(source.folder, path))
    return job_of_trained(trained_llama, tmp_path / "workspace")


@pytest.fixture
def quantize(job, tmp_path):
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which is built on first installation")
    job.workspace.mkdir()

    def made(**options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        done = Gguf().quantize(job, GgufOptions(**options), folder)
        job.complete(folder, LlamaCppRuntime, done.runtime_config)
        return done, folder

    return made


def scores(folder, windows):
    model = LlamaCppRuntime.load(folder, {}, threads=1)
    try:
        return model.score(windows, TOP)["token_logprobs"]
    finally:
        model.close()


@pytest.mark.slow
def test_each_type_is_made_counted_and_near_full_precision(job, quantize, tmp_path):
    exact = tmp_path / "exact"
    exact.mkdir()
    job.complete(exact, LlamaCppRuntime, LlamaCppRuntime.write_reference(job, exact, "bfloat16"))
    windows = job.task.windows(job.samples.inputs)
    expected, errors = scores(exact, windows), {}
    for kind, most, counts in [
        ("Q8_0", 0.55, {"Q8_0 tensors": 16}),
        ("Q6_K", 0.45, {"Q6_K tensors": 16}),
        ("Q4_K_M", 0.36, {"Q4_K tensors": 12, "Q6_K tensors": 4}),
        ("Q4_0", 0.32, {"Q4_0 tensors": 15, "Q6_K tensors": 1}),
    ]:
        done, folder = quantize(type=kind)
        assert sum(done.counts.values()) == 16
        assert done.counts.keys() <= counts.keys() | {"Q6_K tensors", "Q8_0 tensors"}
        assert done.weight_ratio < most
        assert done.quantized_parameters > 0.99 * done.parameters
        errors[kind] = float(np.abs(scores(folder, windows) - expected).mean())
    assert 0 < errors["Q8_0"] < errors["Q6_K"] < min(errors["Q4_K_M"], errors["Q4_0"])
    assert errors["Q8_0"] < 0.05  # nats; a few channels are 16 times as large as the others in their block


@pytest.mark.slow
def test_the_importance_matrix_weighs_what_the_texts_use(job, quantize):
    """Channels that are large in the calibration data are rounded more exactly, and others less."""
    _, plain = quantize(type="IQ4_XS", importance_matrix=False)
    done, weighed = quantize(type="IQ4_XS")
    assert done.counts.keys() <= {"IQ4_XS tensors", "Q5_K tensors", "Q6_K tensors"}
    assert (plain / MODEL).read_bytes() != (weighed / MODEL).read_bytes()
    windows = job.calibration
    exact = job.workspace / "exact"
    exact.mkdir()
    job.complete(exact, LlamaCppRuntime, LlamaCppRuntime.write_reference(job, exact, "bfloat16"))
    expected = scores(exact, windows)
    apart = [float(np.square(scores(folder, windows) - expected).mean()) for folder in (plain, weighed)]
    assert apart[1] < apart[0]


@pytest.mark.slow
def test_the_matrix_is_the_mean_square_of_each_layers_inputs(job, quantize, tmp_path):
    import torch

    np.save(tmp_path / "calibration.npy", job.calibration)
    work = {"model": str(job.source.folder), "gguf": str(job.gguf()), "calibration": tmp_path / "calibration.npy"}
    found = quantize_worker.importance({**work, "trust_remote_code": False, "threads": 1})
    assert len(found) == 14  # without lm_head
    assert {name: row.shape for name, row in found.items() if "blk.0.ffn" in name} == {
        "blk.0.ffn_gate.weight": (256,),
        "blk.0.ffn_up.weight": (256,),
        "blk.0.ffn_down.weight": (512,),
    }
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job.source.folder, dtype="auto")
    with torch.no_grad():
        first = model.model.layers[0].input_layernorm(model.model.embed_tokens(torch.from_numpy(job.calibration)))
    expected = first.float().square().mean((0, 1)).numpy()
    np.testing.assert_allclose(found["blk.0.attn_q.weight"], expected, rtol=1e-3)


@pytest.mark.slow
def test_rows_that_do_not_fit_fall_back_and_are_noted(job, quantize, monkeypatch, tmp_path):
    """K-quants need rows that are a multiple of 256 wide. One layer has them, and the last has its own rule."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path / "narrow"
    config = LlamaConfig(vocab_size=384, hidden_size=128, intermediate_size=256, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False)  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((job.source.folder / name).read_bytes())
    monkeypatch.setattr(gguf, "convert", lambda source, path, progress: write_gguf(folder, path))
    done, _ = quantize(type="Q4_K_M")
    assert done.counts.keys() >= {"Q5_0 tensors"}
    assert done.notes[0].startswith("7 of 9 tensors fell back to another type: ")
    assert "is 128 wide, no multiple of 256, so it has " in done.notes[0]


def test_only_types_that_weigh_need_calibration():
    assert Gguf().needs(GgufOptions(type="IQ3_S")) == "calibration"
    assert Gguf().needs(GgufOptions(type="Q4_K_M", importance_matrix=True)) == "calibration"
    assert Gguf().needs(GgufOptions()) is None
    assert Gguf().scheme_of(GgufOptions(type="Q8_0")) == "Q8_0"


def test_what_llama_cpp_refuses_is_refused_before_any_work(job, tmp_path):
    refused = GgufOptions(type="IQ2_XS", importance_matrix=False)
    assert "cannot be made without an importance matrix" in Gguf().preflight(None, refused)[0]
    assert Gguf().preflight(None, GgufOptions(type="IQ4_XS", importance_matrix=False)) == []


def test_missing_calibration_is_an_error(job, tmp_path):
    job.workspace.mkdir()
    job.calibration = None
    with pytest.raises(QuantbentoError, match="IQ4_XS needs calibration texts"):
        Gguf().quantize(job, GgufOptions(type="IQ4_XS"), tmp_path)


@pytest.mark.slow
@pytest.mark.network
def test_the_converter_writes_the_same_file_as_the_tests(tmp_path, trained_llama, monkeypatch):
    """Downloads llama.cpp's converter by name, unless it is there."""
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which is built on first installation")
    write_trained_llama(tmp_path / "llama")
    job = job_of_trained(tmp_path / "llama", tmp_path / "workspace")
    try:
        path = job.gguf()
    except QuantbentoError as error:
        if "cannot install" in str(error) or "cannot download" in str(error):
            pytest.skip(f"no package index: {error}")
        raise
    write_gguf(tmp_path / "llama", tmp_path / MODEL)
    own, expected = contents.read(path), contents.read(tmp_path / MODEL)
    assert {(t.name, t.shape) for t in own.tensors} == {(t.name, t.shape) for t in expected.tensors}
    assert {t.kind for t in own.tensors if len(t.shape) > 1} == {"BF16"}
    assert own.tokenizer == ("gpt2", "default")
