"""Quantizes a GGUF file with llama.cpp, in a process of its own: its memory ends with it, and llama.cpp's log is read.

Imports nothing from quantbento. The job:

    gguf                the file in full precision
    output              the file to write
    type                what llama.cpp calls the whole file's type: "Q4_K_M"
    calibration         .npy file of int64 token ids, shape (sequences, tokens), for an importance matrix; null for none
    model               the same model's folder in hub format; its activations make the importance matrix
    trust_remote_code   whether code in that folder may run
    threads             CPU cores to use

The result: `fallbacks`, what llama.cpp said about each tensor whose rows do not fit the type.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "core" / "isolated"))

from worker import OnProgress, run

FALLBACK = re.compile(r"warning: (\S+)\s+- ncols\s+(\d+) not divisible by\s+(\d+).*?type\s+(\S+)\).*?to\s+(\S+)")
AT = re.compile(r"\[\s*(\d+)/\s*(\d+)\] ")


class CannotQuantize(Exception):
    """Says in one line why."""


def quantize(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    import llama_cpp

    said: list[str] = []

    @llama_cpp.llama_log_callback
    def listen(level: int, text: bytes, user_data: Any) -> None:
        line = text.decode(errors="replace")
        said.append(line)
        sys.stderr.write(line)
        if at := AT.match(line):
            on_progress("quantize", int(at[1]), int(at[2]))

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{job['type']}")
    parameters.nthread = job["threads"]
    rows = {}
    if job["calibration"]:
        on_progress("importance matrix", 0, 1)
        rows = importance(job)  # named until all is done: C only has their addresses
        parameters.imatrix = _as_c(rows)
    llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
    code = llama_cpp.llama_model_quantize(job["gguf"].encode(), job["output"].encode(), ctypes.byref(parameters))
    text = "".join(said)
    if code:
        reasons = [line.strip() for line in text.splitlines() if "failed to quantize" in line]
        raise CannotQuantize((reasons or [f"llama.cpp said nothing (code {code})"])[-1].rpartition("quantize: ")[2])
    return {"fallbacks": [_sentence(found) for found in FALLBACK.finditer(text)]}


def importance(job: dict[str, Any]) -> dict[str, np.ndarray]:
    """The importance matrix as llama.cpp computes it (tools/imatrix): for each linear layer but the last, the mean
    squares of its inputs over all tokens, float32, one per input channel. By llama.cpp's names of the tensors."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        job["model"], dtype="auto", trust_remote_code=job["trust_remote_code"], local_files_only=True
    ).eval()
    names = _names(job["gguf"])
    sums: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def add(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            squares = inputs[0].detach().float().square().flatten(0, -2).sum(0)
            sums[name] = sums[name] + squares if name in sums else squares

        return add

    for own, module in model.named_modules():
        inside = isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
        if inside and (name := names.get_name(f"{own}.weight", (".weight",))):
            module.register_forward_pre_hook(watch(name))
    windows = np.load(job["calibration"])
    with torch.inference_mode():
        for window in windows:
            model(torch.from_numpy(window)[None], use_cache=False)
    return {name: (total / windows.size).numpy() for name, total in sums.items()}


def _names(path: str) -> Any:
    """llama.cpp's names of tensors by those in the hub."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    name = fields["general.architecture"].contents()
    architecture = next(number for number, known in gguf.MODEL_ARCH_NAMES.items() if known == name)
    return gguf.get_tensor_name_map(architecture, fields[f"{name}.block_count"].contents())


def _as_c(values: dict[str, np.ndarray]) -> Any:
    """llama.cpp's array of the matrix; one without a name ends it."""
    import llama_cpp

    array = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for place, (name, row) in enumerate(values.items()):
        array[place].name = name.encode()
        array[place].data = row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        array[place].size = row.size
    return array


def _sentence(found: re.Match[str]) -> str:
    name, width, block, wanted, got = found.groups()
    return f"{name} is {width} wide, no multiple of {block}, so it has {got.upper()} instead of {wanted.upper()}"


if __name__ == "__main__":
    run(quantize)
