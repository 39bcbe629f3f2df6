"""llama.cpp scores and continues as Transformers does, alone or with other prompts, whole or in pieces."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which is built on first installation")

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes import artifact, llama_cpp
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.llama_cpp import MODEL, LlamaCppRuntime
from quantbento.runtimes.transformers import TransformersRuntime
from tests.gguf_files import write_gguf
from tests.trained_llama import texts, write_trained_llama

LOAD = """
import sys
from pathlib import Path
from quantbento.runtimes.llama_cpp import LlamaCppRuntime
model = LlamaCppRuntime.load(Path(sys.argv[1]), {}, threads=1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained Llama as a checkpoint and, beside it, as a GGUF file."""
    folder = write_trained_llama(tmp_path_factory.mktemp("llama"))
    write_gguf(folder, folder / MODEL)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    model = LlamaCppRuntime.load(folder, {}, threads=1)
    yield model
    model.close()


@pytest.fixture(scope="module")
def other(folder):
    return TransformersRuntime.load(folder, {"dtype": "float32"}, threads=1)


@pytest.fixture(scope="module")
def tokens(other):
    return np.asarray(other._tokenizer(texts()[1][0], verbose=False)["input_ids"], np.int64)


@pytest.mark.parametrize(("count", "length"), [(3, 64), (1, 512)])
def test_it_scores_as_transformers_does(model, other, tokens, count, length, monkeypatch):
    monkeypatch.setattr(llama_cpp, "BATCH", 100)  # a window is several passes, and their borders are not at its end
    windows = tokens[: count * length].reshape(count, length)
    found, expected = model.score(windows, 8), other.score(windows, 8)
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert found[name].dtype == values.dtype
    np.testing.assert_allclose(found["token_logprobs"], expected["token_logprobs"], atol=0.03)
    np.testing.assert_allclose(found["top_logprobs"], expected["top_logprobs"], atol=0.03)
    assert (found["top_ids"][..., 0] == expected["top_ids"][..., 0]).mean() > 0.99


def test_it_continues_as_transformers_does_whatever_ran_before(model, other, tokens):
    prompts = [tokens[:9].tolist(), tokens[:12].tolist(), tokens[40:45].tolist()]
    greedy = Sampling(max_tokens=24)
    expected = other.generate(prompts, greedy)
    assert model.generate(prompts, greedy) == expected
    model.score(tokens[None, :64], 1)
    assert model.generate(prompts[::-1], greedy) == expected[::-1]


def test_it_is_what_llama_cpp_says_itself(model, folder, tokens):
    from llama_cpp import Llama

    prompt = tokens[:9].tolist()
    own = Llama(str(folder / MODEL), n_ctx=512, verbose=False)
    told = own.create_completion(prompt, max_tokens=24, temperature=0)["choices"][0]["text"]
    own.close()
    assert model.generate([prompt], Sampling(max_tokens=24))[0].text == told


def test_pieces_make_the_text_and_a_closed_stream_leaves_the_model_usable(model, tokens):
    prompt, sampling = tokens[:9].tolist(), Sampling(max_tokens=24)
    [whole] = model.generate([prompt], sampling)
    pieces = list(model.stream(prompt, sampling))
    assert len(pieces) > 5
    assert "".join(pieces) == whole.text
    stream = model.stream(prompt, sampling)
    next(stream)
    stream.close()
    assert model.generate([prompt], sampling) == [whole]


def test_a_seed_decides_and_no_seed_does_not(model, tokens):
    prompt = tokens[:9].tolist()

    def drawn(seed):
        return [g.token_ids for g in model.generate([prompt] * 2, Sampling(20, temperature=1.5, seed=seed))]

    assert drawn(7) == drawn(7)
    assert drawn(7)[0] == drawn(7)[1]
    assert drawn(7) != drawn(8)
    free = drawn(None)
    assert free[0] != free[1]


def test_it_takes_as_much_as_the_model_was_trained_on_or_as_the_recipe_says(folder, model, tokens):
    assert model.max_model_len == 512
    model.generate([tokens[:500].tolist()], Sampling(max_tokens=12))
    with pytest.raises(InvalidInput, match="500 tokens and 13 to generate; the model takes at most 512"):
        model.generate([tokens[:500].tolist()], Sampling(max_tokens=13))
    short = LlamaCppRuntime.load(folder, {"engine": {"max_model_len": 256}}, threads=1)
    assert short.max_model_len == 256
    short.close()


def test_a_model_trained_on_long_texts_does_not_take_all_memory(folder, monkeypatch):
    monkeypatch.setattr(llama_cpp, "LONGEST", 256)
    short = LlamaCppRuntime.load(folder, {}, threads=1)
    assert short.max_model_len == 256
    short.close()


@pytest.mark.parametrize(("prompt", "said"), [([], "at least one token"), ([384], "0 to 383"), ([-1], "0 to 383")])
def test_what_it_cannot_take_is_refused_by_the_call_itself(model, prompt, said):
    with pytest.raises(InvalidInput, match=said):
        model.stream(prompt, Sampling())
    with pytest.raises(InvalidInput, match="stop string"):
        model.stream([1], Sampling(stop=("",)))


def test_a_file_that_is_none_is_said_in_one_line(folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / MODEL).write_text("no model")
    with pytest.raises(QuantbentoError, match=r"could not be loaded by llama.cpp: this version"):
        LlamaCppRuntime.load(tmp_path, {}, threads=1)


def test_nothing_is_printed_also_when_nobody_closes_it(folder):
    command = [sys.executable, "-c", LOAD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "llama" not in done.stderr.replace(str(folder), "")


def test_its_full_precision_is_the_file_that_the_job_converts(folder, tmp_path):
    class Job:
        class source:  # noqa: N801 - stands in for a field
            folder, dtype = "there", "bfloat16"

        def gguf(self):
            return folder / MODEL

    assert LlamaCppRuntime.write_reference(Job(), tmp_path, "float32") is None
    assert LlamaCppRuntime.write_reference(Job(), tmp_path, "bfloat16") == {}
    assert (tmp_path / MODEL).samefile(folder / MODEL)


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(artifact, "devices", lambda: ["cpu"])
    assert artifact.installs(LlamaCppRuntime, "llama_cpp") == "'quantbento[llama-cpp]'"
