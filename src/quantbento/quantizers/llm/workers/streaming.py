"""Rounds a checkpoint part by part (`quantbento.quantizers.llm.streaming`), in this project's own environment but in a
process of its own, whose peak of memory is the method's. The job:

    model         folder in hub format
    state         folder of finished shards; those that are there already are verified and kept
    key           what the shards are made from
    schemes       {layer: scheme}, of linear layers by name
    group_size    input channels that share a scale; -1 for one scale per row
    small         bytes of the source; layers below it share a shard
    threads       that round at once

The result: `peak_memory_bytes`, resident, also of earlier runs; `reused`, the number of shards that an earlier run had
finished; `shards`, their names in order; `places`, {tensor: shard}.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[3] / "core" / "isolated"))
sys.path.insert(0, str(Path(__file__).parents[4]))

from worker import OnProgress, run

if TYPE_CHECKING:
    import torch


def quantize(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    import torch

    from quantbento.core.machine import peak_memory_bytes
    from quantbento.quantizers.llm.streaming.parts import parts, shard_names, stored
    from quantbento.quantizers.llm.streaming.shards import Shards

    torch.set_num_threads(1)  # the pool below is the parallelism: a chunk stays in a core's cache from step to step
    made = parts(stored(Path(job["model"])), job["small"])
    names, shards, peaks = shard_names(len(made)), Shards(Path(job["state"]), job["key"]), []
    with ThreadPoolExecutor(job["threads"]) as pool:
        for number, (part, name) in enumerate(zip(made, names, strict=True)):
            on_progress("rtn", number, len(made))
            if peak := shards.finished(name):
                peaks.append(peak)
            else:
                shards.finish(name, partial(_write, job, part, pool))
        on_progress("rtn", len(made), len(made))
    places = {written: name for name in names for written in _names(shards.folder / name)}
    peak = max(peak_memory_bytes(), *peaks) if peaks else peak_memory_bytes()
    return {"peak_memory_bytes": peak, "reused": len(peaks), "shards": names, "places": places}


def _write(job: dict[str, Any], part: list[Any], pool: ThreadPoolExecutor, path: Path) -> None:
    """Reads a part's tensors one by one, and writes what becomes of them to a file."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    done: dict[str, torch.Tensor] = {}
    for tensor in part:
        # Opened for each tensor: what was read stays in memory for as long as its file is open.
        with safe_open(Path(job["model"], tensor.file), framework="pt") as file:
            value = file.get_tensor(tensor.name)
        layer, _, own = tensor.name.rpartition(".")
        if own == "weight" and (scheme := job["schemes"].get(layer)):
            done |= {f"{layer}.{n}": t for n, t in _rounded(value, scheme, job["group_size"], pool).items()}
        else:
            done[tensor.name] = value
        del value
    save_file(done, path, metadata={"format": "pt"})


def _rounded(weight: torch.Tensor, scheme: str, group_size: int, pool: ThreadPoolExecutor) -> dict[str, torch.Tensor]:
    """The tensors that stand for a matrix. Its rows are rounded in chunks, on several threads."""
    import torch

    from quantbento.quantizers.llm.streaming.memory import CHUNK
    from quantbento.quantizers.llm.streaming.rounding import TOGETHER, rounding

    rows = max(1, CHUNK // weight.shape[1] // TOGETHER) * TOGETHER
    pieces = list(pool.map(rounding(scheme, group_size), weight.split(rows)))
    joined = {name: torch.cat([piece.pop(name) for piece in pieces]) for name in list(pieces[0])}
    if "weight_packed" in joined:
        joined["weight_shape"] = torch.tensor(weight.shape)
    return joined


def _names(path: Path) -> list[str]:
    from quantbento.inputs.checkpoint import header

    return list(header(path))


if __name__ == "__main__":
    run(quantize)
