"""Language models and encoders on one NVIDIA GPU, with nothing but installed packages: no model is fetched.

    python -m benchmarks.gpu                          # a Llama of 8 B, random weights; needs about 50 GB of disk
    python -m benchmarks.gpu --size 1b --rounds 1     # the same in minutes
    python -m benchmarks.gpu --device cpu --tiny      # tries every line of it on a CPU; the figures mean nothing

1. a Llama-architecture model of random weights in bfloat16, and the same in each scheme: output tokens/s at several
   batch sizes, the time to the first token, memory
2. the small Llama that this project trains (`examples/tiny_llama.py`): its perplexity in each scheme, through the
   kernels of the device. Random weights have none worth telling
3. an encoder of MiniLM's shape: full precision in PyTorch and ONNX Runtime, 8-bit weights, and its service

W4A16 is made by the quantizer `rtn`; W8A8 by the rounding of its `eight_bit` layers; FP8 by vLLM itself while it loads
(`quantization="fp8"`), so that there is no checkpoint in FP8. None of them needs samples.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gpu_checkpoints, gpu_encoders
from quantbento.core import machine
from quantbento.core.errors import QuantbentoError
from quantbento.making import hardware
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.vllm import VllmRuntime
from quantbento.runtimes.vllm_settings import GIB, EngineSettings

PROMPT_TOKENS, SEED = 128, 0
WINDOW = 256  # tokens that perplexity is measured on at a time
NO_FP8 = "vLLM's FP8 kernels for CPUs need AMX, which this CPU has not"


class Settings(EngineSettings):
    quantization: str | None = None  # what vLLM does to the weights while it loads them

    def arguments(self, on_cpu: bool | None = None) -> dict[str, Any]:
        given = super().arguments(on_cpu)
        return given | ({"quantization": self.quantization} if self.quantization else {})


@dataclass
class Result:
    """Of one scheme. `tokens_per_second` is by batch size; `memory_bytes` is the engine's without its KV cache on a
    GPU, and its process's peak on a CPU."""

    scheme: str
    weight_bytes: int = 0
    memory_bytes: int | None = None
    first_token_ms: float | None = None
    tokens_per_second: dict[int, float] = field(default_factory=dict)
    perplexity: float | None = None
    left_out: str | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=("1b", "3b", "8b"), default="8b", help="of the model (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="everything as small as it can be")
    parser.add_argument("--trained", type=Path, help="the trained model's folder; by default examples/tiny_llama.py's")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64], help="sequences at once")
    parser.add_argument("--tokens", type=int, default=256, help="new ones per sequence (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement; the median counts")
    parser.add_argument("--workspace", type=Path, help="where checkpoints are made; by default a temporary folder")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.size, arguments.batches, arguments.tokens, arguments.rounds = "tiny", [1, 2], 8, 1
    if problem := VllmRuntime.device_problem(arguments.device) or _no_gpu(arguments.device):
        raise QuantbentoError(problem)
    trained = arguments.trained or _trained()
    with tempfile.TemporaryDirectory(prefix="quantbento-gpu-", dir=arguments.workspace) as workspace:
        results = list(_language_models(arguments, trained, Path(workspace)))
    requests, texts = (16, 4) if arguments.tiny else (512, 32)
    encoders = gpu_encoders.encoders(arguments.device, arguments.tiny, requests, texts)
    about = {"device": _name(arguments.device), "size": arguments.size, "tokens": arguments.tokens}
    _print(about, results, encoders)
    if arguments.output:
        figures = {**about, "schemes": [asdict(r) for r in results], "encoders": [asdict(row) for row in encoders]}
        arguments.output.write_text(json.dumps(figures, indent=2))
    return 0


def _language_models(arguments: argparse.Namespace, trained: Path, workspace: Path) -> Iterator[Result]:
    """Each scheme's checkpoint of the large model is made, measured and removed before the next."""
    source = gpu_checkpoints.random_llama(arguments.size, trained, workspace / "bf16", arguments.device)
    windows = _windows(trained, 4 if arguments.tiny else 64)
    made = {"W8A8": gpu_checkpoints.w8a8, "W4A16": gpu_checkpoints.w4a16}
    for scheme in ("BF16", "FP8", "W8A8", "W4A16"):
        if scheme == "FP8" and arguments.device == "cpu" and "amx_int8" not in hardware.look().cpu_flags:
            yield Result(scheme, left_out=NO_FP8)
            continue
        print(f"{scheme} ...", file=sys.stderr)
        folder, judged = source, trained
        if make := made.get(scheme):
            folder, judged = workspace / scheme, workspace / f"{scheme}-trained"
            make(source, folder)
            make(trained, judged)
        online = "fp8" if scheme == "FP8" else None
        result = _measure(scheme, folder, online, arguments)
        result.perplexity = _perplexity(judged, online, windows)
        if folder != source:
            shutil.rmtree(folder)
        yield result


def _measure(scheme: str, folder: Path, online: str | None, arguments: argparse.Namespace) -> Result:
    """Speed and memory. The KV cache has room for the largest batch, and no more, so that memory can be compared."""
    length = PROMPT_TOKENS + arguments.tokens
    cache = _cache_gib(folder, length * max(arguments.batches))
    settings = Settings(
        max_model_len=length, max_num_seqs=max(arguments.batches), kv_cache_gib=cache, quantization=online
    )
    before = _used(arguments.device)
    model = VllmRuntime(folder, settings, machine.default_threads())
    try:
        result = Result(scheme, gpu_checkpoints.weight_bytes(folder))
        chance = np.random.default_rng(SEED)
        for batch in arguments.batches:
            seconds = []
            for turn in range(arguments.rounds + 1):  # the first is warm-up
                prompts = chance.integers(10, 500, (batch, PROMPT_TOKENS)).tolist()
                begin = time.perf_counter()
                model.generate(prompts, Sampling(max_tokens=arguments.tokens, ignore_eos=True))
                if turn:
                    seconds.append(time.perf_counter() - begin)
            result.tokens_per_second[batch] = batch * arguments.tokens / statistics.median(seconds)
        result.first_token_ms = 1e3 * _first_token(model, chance, arguments.rounds)
        if before is None:
            result.memory_bytes = model.peak_memory_bytes()
        else:
            result.memory_bytes = int((_used(arguments.device) or 0) - before - cache * GIB)
        return result
    finally:
        model.close()


def _first_token(model: VllmRuntime, chance: np.random.Generator, rounds: int) -> float:
    """Seconds from one prompt to its first token; nothing else runs. Each prompt is new, so none is cached."""
    seconds = []
    for _ in range(max(3, rounds)):
        prompt = chance.integers(10, 500, (1, PROMPT_TOKENS)).tolist()
        begin = time.perf_counter()
        model.generate(prompt, Sampling(max_tokens=1, ignore_eos=True))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def _perplexity(folder: Path, online: str | None, windows: np.ndarray) -> float:
    model = VllmRuntime(folder, Settings(max_model_len=512, quantization=online, kv_cache_gib=0.5), 1)
    try:
        return float(np.exp(-model.score(windows, 1)["token_logprobs"].mean()))
    finally:
        model.close()


def _windows(trained: Path, count: int) -> np.ndarray:
    """Token ids of texts that the model was not trained on, shape (count, WINDOW)."""
    from transformers import AutoTokenizer

    from examples.tiny_llama import held_out

    tokenizer, ids = AutoTokenizer.from_pretrained(trained), []
    for text in held_out():
        ids += tokenizer(text)["input_ids"]
        if len(ids) >= count * WINDOW:
            break
    return np.asarray(ids[: count * WINDOW], np.int64).reshape(count, WINDOW)


def _cache_gib(folder: Path, tokens: int) -> float:
    """For so many tokens, and half as many again for blocks that are not full."""
    config = json.loads((folder / "config.json").read_text())
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    one = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * width * 2
    return max(0.25, 1.5 * tokens * one / GIB)


def _used(device: str) -> int | None:
    """Bytes of the GPU's memory that are taken, by all processes; None on a CPU."""
    if device == "cpu":
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free


def _no_gpu(device: str) -> str | None:
    if device == "cpu" or machine.gpus():
        return None
    return "there is no NVIDIA GPU that PyTorch can use here; to try the script: --device cpu --tiny"


def _trained() -> Path:
    from examples import tiny_llama

    return tiny_llama.model()


def _name(device: str) -> str:
    return machine.gpus()[0] if device == "cuda" else f"a CPU with {machine.default_threads()} threads"


def _print(about: dict[str, Any], results: Sequence[Result], encoders: Sequence[gpu_encoders.Row]) -> None:
    print(f"{about['device']}; a Llama of {about['size']}, {about['tokens']} new tokens per sequence\n")
    batches = next(list(r.tokens_per_second) for r in results if r.tokens_per_second)
    speeds = "".join(f"{f'tokens/s, {batch}':>15}" for batch in batches)
    print(f"{'scheme':<8}{'weights GB':>11}{'memory GB':>11}{'first ms':>10}{speeds}{'perplexity':>12}")
    for r in results:
        if r.left_out:
            print(f"{r.scheme:<8}left out: {r.left_out}")
            continue
        speeds = "".join(f"{speed:>15.0f}" for speed in r.tokens_per_second.values())
        memory = f"{r.memory_bytes / 1e9:.2f}" if r.memory_bytes else "-"
        sizes = f"{r.weight_bytes / 1e9:>11.3f}{memory:>11}"
        print(f"{r.scheme:<8}{sizes}{r.first_token_ms:>10.1f}{speeds}{r.perplexity:>12.3f}")
    print(f"\n{'encoder':<34}{'texts/s':>10}{'p50 ms':>9}{'MB':>8}")
    for row in encoders:
        size = f"{row.megabytes:.1f}" if row.megabytes else "-"
        print(f"{row.name:<34}{row.texts_per_second:>10.0f}{row.milliseconds:>9.2f}{size:>8}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QuantbentoError as error:
        sys.exit(str(error))
