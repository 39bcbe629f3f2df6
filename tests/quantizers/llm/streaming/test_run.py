"""A run that is killed goes on after the last finished shard, and writes what an uninterrupted one writes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.core.stage_cache import StageCache
from quantbento.inputs.checkpoint import INDEX
from quantbento.inputs.job import Job
from quantbento.quantizers.llm.rtn import Rtn
from quantbento.quantizers.llm.streaming import run
from quantbento.tasks.source import SourceModel

LAYERS, SIZE = 4, 1024
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "hidden_size": SIZE}
CONFIG |= {"num_hidden_layers": LAYERS, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 64}
SCHEMES = {f"model.layers.{i}.a": "W4A16" for i in range(LAYERS)}


class Killed(BaseException):
    """Not an error that any handler in between takes for one."""


class Kept:
    """Progress that ends the run when so many shards are done."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.lines, self.steps = after, [], []

    def stage(self, name):
        import contextlib

        @contextlib.contextmanager
        def stage():
            yield self.advance

        return stage()

    def advance(self, done, total):
        self.steps.append((done, total))
        if done == self.after:
            raise Killed

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(autouse=True)
def own_shards(tmp_path, monkeypatch):
    """Every layer gets one, and records are signed with a key of the test's own."""
    monkeypatch.setattr(run, "SMALL", 1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "key"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    pattern = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    tensors = {f"{name}.weight": pattern.roll(i) for i, name in enumerate(SCHEMES)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def peak_of_pytorch() -> int:
    """Of a process that does nothing else. 225 to 280 MB: how much of a library's file counts as resident depends on
    how the kernel keeps that file."""
    code = (
        "import torch, safetensors.torch; from quantbento.core.machine import peak_memory_bytes as peak; print(peak())"
    )
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def quantize(source, folder, cache: StageCache, progress: Kept) -> dict:
    folder.mkdir()
    job = Job(SourceModel(folder=source, dtype="bfloat16"), None, folder.parent, cache=cache, progress=progress)
    return run.quantize(job, "rtn", SCHEMES, 128, ["lm_head"], folder)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_it_goes_on_after_the_last_finished_shard(source, tmp_path):
    cache = StageCache(tmp_path / "cache" / "stages", {"model": "one"}, 10**9)
    with pytest.raises(Killed):
        quantize(source, tmp_path / "first", cache, Kept(after=2))
    (state,) = (path for path in (tmp_path / "cache" / "streaming").iterdir() if path.is_dir())
    first, second = sorted(state.glob("*.json"))[:2]
    (state / f"{first.stem}.safetensors").write_bytes(b"damaged")  # this one is not trusted
    before = (state / f"{second.stem}.safetensors").stat().st_mtime_ns

    progress = Kept()
    told = quantize(source, tmp_path / "second", cache, progress)
    assert 1 <= told["reused"] <= 3  # more may have been finished before the worker ended
    assert f"{told['reused']} of 4 shards were finished before" in progress.lines[0]
    assert (tmp_path / "second" / f"{second.stem}.safetensors").stat().st_mtime_ns == before
    assert progress.steps[-1] == (4, 4)
    assert not state.exists()

    once = quantize(source, tmp_path / "once", StageCache(), Kept())
    assert once["reused"] == 0 and contents(tmp_path / "second") == contents(tmp_path / "once")
    assert sorted(tmp_path.glob("shards-*")) == []
    index = json.loads((tmp_path / "once" / INDEX).read_text())["weight_map"]
    assert set(index.values()) == set(once["shards"]) and len(index) == 3 * LAYERS
    assert once["peak_memory_bytes"] == pytest.approx(peak_of_pytorch() + 5e6, abs=50e6)


@pytest.mark.slow
def test_another_model_or_a_run_anew_uses_nothing(source, tmp_path):
    folder = tmp_path / "cache" / "stages"
    with pytest.raises(Killed):
        quantize(source, tmp_path / "first", StageCache(folder, {"model": "one"}, 10**9), Kept(after=1))
    assert quantize(source, tmp_path / "other", StageCache(folder, {"model": "two"}, 10**9), Kept())["reused"] == 0
    assert quantize(source, tmp_path / "anew", StageCache(folder, {"model": "one"}, 10**9, True), Kept())["reused"] == 0


def test_layers_that_the_files_do_not_have_are_named(source, tmp_path, monkeypatch):
    monkeypatch.setattr(isolated, "run", lambda *given: pytest.fail("it must not start"))
    job = Job(SourceModel(folder=source, dtype="bfloat16"), None, tmp_path)
    with pytest.raises(
        QuantbentoError, match=r"no matrix of floats named model.layers.0.*and 25 more.*save_pretrained"
    ):
        Rtn().quantize(job, Rtn.Options(), tmp_path)


@pytest.mark.slow
def test_experts_are_quantized_one_by_one_and_the_router_is_kept(tmp_path):
    from transformers import AutoConfig

    folder, block = tmp_path / "mixture", "model.layers.0.mlp"
    config = AutoConfig.for_model(
        "qwen3_moe", hidden_size=128, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=64,
        num_experts=4, moe_intermediate_size=128, vocab_size=64, num_experts_per_tok=2, dtype="bfloat16",
    )  # fmt: skip
    config.save_pretrained(folder)
    weight = torch.randn(128, 128).to(torch.bfloat16)
    experts = [f"{block}.experts.{i}.{n}_proj" for i in range(4) for n in ("gate", "up", "down")]
    attention = [f"model.layers.0.self_attn.{n}_proj" for n in "qkvo"]
    tensors = {f"{name}.weight": weight.clone() for name in [*experts, *attention, "lm_head"]}
    save_file(tensors | {f"{block}.gate.weight": weight[:4].clone()}, folder / "model.safetensors")
    made = tmp_path / "made"
    made.mkdir()
    done = Rtn().quantize(Job(SourceModel(folder=folder, dtype="bfloat16"), None, tmp_path), Rtn.Options(), made)
    assert done.counts == {"W4A16 layers": 16, "experts": 4} and done.left_out == []
    written = {name: tensor for path in made.glob("*.safetensors") for name, tensor in load_file(path).items()}
    assert all(f"{name}.weight_packed" in written for name in experts)
    assert torch.equal(written[f"{block}.gate.weight"], weight[:4])
    ignored = json.loads((made / "config.json").read_text())["quantization_config"]["ignore"]
    assert ignored == ["lm_head", f"{block}.gate"]
