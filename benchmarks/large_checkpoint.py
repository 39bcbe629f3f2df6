"""Quantizes a language model from disk that may be larger than memory, and is killed halfway.

    python -m benchmarks.large_checkpoint                  # 3.2 B parameters: 8 GB of disk, some minutes
    python -m benchmarks.large_checkpoint --layers 2 --hidden 512

It writes a checkpoint with the shapes of Llama 3.2 3B (random weights: one pattern, scaled anew for each tensor),
starts `rtn` in a process, kills it with SIGKILL when half of the shards are finished, and starts it again. It checks
that finished shards were not written again, some layers against the source, and the peak of memory against the estimate
and a limit. All files are removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from quantbento.core.machine import peak_memory_bytes
from quantbento.core.progress import Lines
from quantbento.core.stage_cache import StageCache
from quantbento.inputs import checkpoint
from quantbento.inputs.job import Job
from quantbento.quantizers.llm.rtn import Rtn
from quantbento.quantizers.llm.streaming.parts import INDEX, stored
from quantbento.tasks.source import SourceModel

GB = 1e9
PATTERN = 1 << 22  # random numbers that all tensors are filled with
WRITTEN = 0.35  # of the source: 4-bit weights with their scales, and the embeddings in 16 bit


def write_model(folder: Path, layers: int, hidden: int, inner: int, heads: int, vocabulary: int) -> None:
    """A Llama in hub format, one file per layer, in bfloat16; keys and values have a third of the heads."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 3,
        "head_dim": hidden // heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    keys = hidden // heads * (heads // 3)
    block = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    files: list[dict[str, tuple[int, ...]]] = [
        {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    ]
    files += [{f"model.layers.{i}.{n}.weight": shape for n, shape in block.items()} for i in range(layers)]
    random = torch.Generator().manual_seed(0)
    pattern, places = torch.randn(PATTERN, generator=random).to(torch.bfloat16), {}
    for number, shapes in enumerate(files):
        name = f"model-{number + 1:05}-of-{len(files):05}.safetensors"
        spread = torch.rand(len(shapes), generator=random).tolist()
        tensors = {
            n: _filled(pattern, shape, 0.01 + 0.03 * s) for (n, shape), s in zip(shapes.items(), spread, strict=True)
        }
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(shapes, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")


def _filled(pattern: torch.Tensor, shape: tuple[int, ...], spread: float) -> torch.Tensor:
    count = prod(shape)
    return (pattern * spread).repeat(-(-count // PATTERN))[:count].reshape(shape).clone()


def quantize(model: Path, work: Path) -> dict[str, Any]:
    """One run, as a recipe's variant without judging does it. What is finished is kept in `work`."""
    cache = StageCache(work / "cache" / "stages", {"model": str(model)}, limit=10**12, say=lambda text: print(text))
    job = Job(SourceModel(folder=model, dtype="bfloat16"), None, work, cache=cache, progress=Lines())
    method, options, folder = Rtn(), Rtn.Options(), work / "made"
    folder.mkdir(exist_ok=True)
    start = time.perf_counter()
    expected = method.memory_bytes(checkpoint.inspect(model), options)
    done = method.quantize(job, options, folder)
    return {
        "seconds": time.perf_counter() - start,
        "expected": expected,
        "peak": done.peak_memory_bytes,
        "own_peak": peak_memory_bytes(),
        "counts": done.counts,
        "ratio": done.weight_ratio,
    }


def started(model: Path, work: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.large_checkpoint", "--quantize", str(model), str(work)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(work: Path) -> dict[str, int]:
    """The shards that a run has finished, with their times."""
    return {
        p.stem: p.with_suffix(".safetensors").stat().st_mtime_ns for p in (work / "cache").glob("streaming/*/*.json")
    }


def killed_halfway(model: Path, work: Path, shards: int) -> dict[str, int]:
    """Starts a run and kills it; returns what it had finished."""
    process = started(model, work)
    try:
        while process.poll() is None and len(finished(work)) < shards // 2:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(2)  # its worker ends when it is gone
    return finished(work)


def worst_step(model: Path, made: Path, names: list[str]) -> float:
    """How far the weights of these layers are from the source's at most, in steps of their group, as compressed-tensors
    unpacks them."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    worst = 0.0
    for name in names:
        weight = read(model, f"{name}.weight").float()
        scale = read(made, f"{name}.weight_scale").float().repeat_interleave(128, 1)
        whole = unpack_from_int32(read(made, f"{name}.weight_packed"), 4, weight.shape)
        worst = max(worst, float((whole - weight / scale).abs().max()))
    return worst


def read(folder: Path, name: str) -> torch.Tensor:
    (tensor,) = [t for t in stored(folder) if t.name == name]
    with safe_open(folder / tensor.file, framework="pt") as file:
        return file.get_tensor(name)


def report(model: Path, work: Path, before: dict[str, int], result: dict[str, Any], limit: float) -> int:
    made, source = work / "made", sum(t.bytes for t in stored(model))
    written = {p.stem: p.stat().st_mtime_ns for p in made.glob("*.safetensors")}
    kept = sum(written.get(name) == at for name, at in before.items())
    layers = sorted(t.name.removesuffix(".weight_packed") for t in stored(made) if t.name.endswith(".weight_packed"))
    step = worst_step(model, made, [layers[0], layers[len(layers) // 2], layers[-1]])
    off = result["peak"] / result["expected"] - 1
    rows = {
        "source": f"{source / GB:.2f} GB, {source / 2 / GB:.2f} B parameters",
        "written": f"{sum(t.bytes for t in stored(made)) / GB:.2f} GB in {len(written)} shards, {result['counts']}",
        "finished when it was killed": f"{len(before)} of {len(written)} shards; {kept} of them kept as they were",
        "seconds of the second run": f"{result['seconds']:.0f}",
        "peak of resident memory, expected": f"{result['expected'] / GB:.2f} GB",
        "peak of resident memory, measured": f"{result['peak'] / GB:.2f} GB ({off:+.0%})",
        "peak of the process that started it": f"{result['own_peak'] / GB:.2f} GB",
        "furthest weight from the source": f"{step:.2f} steps",
    }
    print("| | |\n|---|---|")
    for what, value in rows.items():
        print(f"| {what} | {value} |")
    total = result["peak"] + result["own_peak"]
    good = {
        "memory is above the limit": total <= limit,
        "the estimate is off by more than 20 %": abs(off) <= 0.2,
        "finished shards were written again": len(before) == kept > 0,
        "weights are off by more than a step": step <= 1.01,
    }
    failed = [what for what, holds in good.items() if not holds]
    print("\n".join(failed) or f"passed: at most {limit / GB:.0f} GB resident, killed and resumed")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--hidden", type=int, default=3072)
    parser.add_argument("--inner", type=int, default=8192)
    parser.add_argument("--heads", type=int, default=24)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--limit-gb", type=float, default=6.0, help="of resident memory, both processes together")
    parser.add_argument("--folder", type=Path, help="where the files are put; by default TMPDIR")
    parser.add_argument("--quantize", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quantize:
        print(json.dumps(quantize(*given.quantize)))
        return 0
    layer = given.hidden * (given.hidden * 2 + given.hidden * 2 // 3 + given.inner * 3)
    source = 2 * (given.layers * layer + given.vocabulary * given.hidden)
    place = given.folder or Path(tempfile.gettempdir())
    needed, free = int(source * (1 + WRITTEN)), shutil.disk_usage(place).free
    if needed > free:
        print(f"needs {needed / GB:.1f} GB of disk; {place} has {free / GB:.1f} GB free: name another in --folder")
        return 2
    with tempfile.TemporaryDirectory(prefix="large-checkpoint-", dir=place) as folder:
        model, work = Path(folder, "model"), Path(folder, "work")
        work.mkdir()
        print(f"writing {source / GB:.1f} GB to {model}", file=sys.stderr)
        write_model(model, given.layers, given.hidden, given.inner, given.heads, given.vocabulary)
        shards = given.layers if 2 * layer >= 128e6 else 1
        before = killed_halfway(model, work, shards)
        print(f"killed after {len(before)} shards", file=sys.stderr)
        process = started(model, work)
        output, _ = process.communicate()
        if process.returncode:
            return process.returncode
        return report(model, work, before, json.loads(output.splitlines()[-1]), given.limit_gb * GB)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
