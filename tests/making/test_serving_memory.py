"""What serving takes, from a configuration alone: against the publishers' figures and sizes worked out by hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from quantbento.cli import main
from quantbento.core import machine
from quantbento.inputs import checkpoint
from quantbento.making import plan, serving_memory
from quantbento.making.serving_memory import KVCache, sequences
from quantbento.quantizers.llm import experts
from quantbento.runtimes.vllm_settings import EngineSettings
from tests.conftest import ROOT
from tests.published_configs import PUBLISHED, write
from tests.tiny_llama import tokenizer_of

# kB of KV cache per token and GPU: 2 x layers x KV heads x head size x 2 bytes, and per GPU where there are two.
KB_PER_TOKEN = {"qwen3-0.6b": 115, "qwen3-8b": 147, "llama-3.1-8b": 131, "qwen3-30b-a3b": 98, "llama-3.3-70b": 164}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer_of("def f(x):\n    return x + 1\n").save_pretrained(folder)
    return folder


@pytest.fixture
def large_machine(monkeypatch, bento_home):
    monkeypatch.setattr(experts, "has_amx", lambda: True)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**13)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**13))


def recipe(name: str, tmp_path: Path, tokenizer: Path) -> dict:
    """A recipe of the project with a local folder that has no weights, and few texts."""
    write(name, tmp_path / "model", tokenizer)
    (tmp_path / "texts.txt").write_text("\n".join(f"line {i} of many" for i in range(64)))
    given = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    texts = {"path": str(tmp_path / "texts.txt")}
    given |= {"model": {"path": str(tmp_path / "model")}, "evaluation": texts}
    given["task_options"] |= {"window": 16, "windows": 4}
    if "calibration" in given:
        given["calibration"] = texts | {"sequences": 8, "sequence_length": 16}
    return given


def notes(given: dict) -> list[str]:
    return plan.check(given, None)[1]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_figures_in_a_recipe_are_the_plans(name, tmp_path, tokenizer, large_machine):
    told = notes(recipe(name, tmp_path, tokenizer))
    needed, cache, plain, *variants = (note for note in told if "quantizing from disk" not in note)
    millions = PUBLISHED[name][1]
    assert int(re.match(r"(\d+) M parameters", needed).group(1)) == pytest.approx(millions, rel=0.002)
    assert f"takes {KB_PER_TOKEN[name]} kB per token" in cache
    assert plain.startswith(f"16 bit: {2 * millions / 1e3:.1f} GB of weights")
    header = " ".join(line.lstrip("# ") for line in (ROOT / "configs" / f"{name}.yaml").read_text().splitlines())
    assert f"{KB_PER_TOKEN[name]} kB per token" in header
    for line in variants:
        variant, size = re.match(r"(\S+): (\S+) GB of weights", line).groups()
        if variant in ("w4a16", "w8a8"):
            assert f"{size} GB in {variant.upper()}" in header


def test_a_dry_run_prints_them_for_a_folder_without_weights(tmp_path, tokenizer, large_machine, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe("llama-3.3-70b", tmp_path, tokenizer)))
    assert main(["save", str(path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "note     serving on vLLM: the KV cache takes 164 kB per token on each GPU, 1.3 GB per sequence" in printed
    assert re.search(r"note     w4a16: \d+\.\d GB of weights; .* on 2 GPUs of 48 GB", printed)


def test_every_expert_counts(tmp_path, tokenizer, large_machine):
    """4.125 bits for what is quantized; embeddings, the last layer, routers and norms stay in 16."""
    told = next(
        note for note in notes(recipe("qwen3-30b-a3b", tmp_path, tokenizer)) if re.match("w4a16: .*GB of weights", note)
    )
    kept = 2 * 151936 * 2048 + 48 * 128 * 2048
    expected = (4.125 * (30532e6 - kept) + 16 * kept) / 8e9
    assert float(re.search(r"(\S+) GB of weights", told).group(1)) == pytest.approx(expected, abs=0.1)


def test_layers_with_a_window_and_latent_attention():
    engine = EngineSettings()
    config = SimpleNamespace(num_hidden_layers=4, num_attention_heads=8, hidden_size=64, num_key_value_heads=2)
    plain = KVCache.of(config, engine)
    assert plain.bytes_of(100) == 2 * 4 * 2 * 8 * 2 * 100
    config.layer_types, config.sliding_window = ["sliding_attention"] * 3 + ["full_attention"], 10
    windowed = KVCache.of(config, engine)
    assert windowed.bytes_of(100) == plain.bytes_of(100) / 4 + plain.bytes_of(10) * 3 / 4
    config.kv_lora_rank, config.qk_rope_head_dim = 512, 64
    assert KVCache.of(config, engine).bytes_of(1) == 4 * 576 * 2


def test_fp8_halves_the_cache_and_gpus_share_its_heads():
    config = SimpleNamespace(num_hidden_layers=2, num_attention_heads=8, hidden_size=64, num_key_value_heads=4)
    whole = KVCache.of(config, EngineSettings()).grows
    assert KVCache.of(config, EngineSettings(kv_cache_dtype="fp8")).grows == whole / 2
    assert KVCache.of(config, EngineSettings(tensor_parallel_size=2)).grows == whole / 2
    assert KVCache.of(config, EngineSettings(tensor_parallel_size=8)).grows == whole / 4  # a head is not split


def test_what_does_not_fit_is_said():
    assert sequences(24e9, 16e9, 1e9, 0.92) == 4
    assert sequences(24e9, 60e9, 1e9, 0.92) == 0


def test_layers_that_a_variant_keeps_or_raises(tmp_path, tokenizer, large_machine):
    given = recipe("llama-3.1-8b", tmp_path, tokenizer)
    given["variants"] = [{"name": "mixed", "quantizer": "awq", "options": {"eight_bit": ["*.down_proj"]}}]
    told = notes(given)[-1]
    facts = checkpoint.inspect(tmp_path / "model")
    down, head = 32 * 4096 * 14336, 4096 * 128256
    linears = sum(out * inputs for out, inputs in facts.linears.values())
    saved = 11.875 * (linears - head - down) + (16 - 8.0625) * down
    assert told.startswith(f"mixed: {(facts.size_bytes - saved / 8) / 1e9:.1f} GB of weights")
    assert serving_memory.SHARE == 0.92
