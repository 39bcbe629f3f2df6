"""Quantizes a causal language model with AutoRound, and writes it as a checkpoint for vLLM.

The job:

    model, output       folders in hub format; what is not quantized is written in the model's own dtype
    calibration         .npy file of int64 token ids, shape (sequences, tokens); null for "rtn", which needs none
    method              "rtn": round to nearest
                        "awq": activation-aware scaling (https://arxiv.org/abs/2306.00978), then round to nearest
                        "autoround": rounding and clipping tuned by sign gradients (https://arxiv.org/abs/2309.05516)
    scheme              W4A16, W4A16_ASYM, W8A16, FP8_BLOCK, NVFP4 or MXFP4
    group_size          input channels that share a scale; -1 for one scale per row; null for the scheme's own
    ignore              exact names of the linear layers to leave as they are
    format              as AutoRound names it: llm_compressor, auto_gptq, auto_awq
    iterations, seed    of "autoround"

    auto_class          of Transformers, which reads the model

The result: `unseen`, the experts of a mixture of experts that no calibration token was routed to. The checkpoint shows
what was done.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[3] / "core" / "isolated"))
sys.path.insert(0, str(Path(__file__).parent))

import routed
from worker import OnProgress, run

# What a layer is left as it is by. With `bits` alone, it would take the scheme's own type of weights and activations.
FULL = {"bits": 16, "act_bits": 16, "data_type": "float", "act_data_type": "float"}


def quantize(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    # Activations are measured in every expert, on all tokens: AWQ has no scales for one that it saw nothing in.
    os.environ["AR_FORCE_MOE_ROUTING_ALL_EXPERTS"] = "1" if job["method"] == "awq" else "0"
    import numpy as np
    import torch
    import transformers
    from auto_round import AutoRound
    from auto_round.algorithms.transforms.awq.config import AWQConfig

    _watch(job["method"], on_progress)
    data: dict[str, Any] = {}
    if job["calibration"]:
        rows = torch.from_numpy(np.load(job["calibration"]))
        data = {
            "dataset": [row[None] for row in rows],
            "nsamples": len(rows),
            "seqlen": rows.shape[1],
            "batch_size": min(8, len(rows)),
        }
    # AutoRound ignores unknown arguments, so the tests check on the weights what each method did.
    methods: dict[str, dict[str, Any]] = {
        # In float32 on every CPU: where one has bf16 instructions, AutoRound would compute the scales in bf16, and
        # weights would be up to 0.58 of a step off instead of 0.5.
        "rtn": {"iters": 0, "disable_opt_rtn": True, "amp": torch.cuda.is_available()},
        "awq": {"alg_configs": [AWQConfig(), "rtn"]},
        "autoround": {"iters": job["iterations"]},
    }
    grouped: dict[str, Any] = {}
    if job["group_size"] is not None:
        grouped = {"group_size": job["group_size"], "sym": not job["scheme"].endswith("_ASYM")}
    folder = Path(job["output"])
    model = getattr(transformers, job["auto_class"]).from_pretrained(job["model"], dtype="auto")
    unseen = routed.watch()
    tuner = AutoRound(
        model,
        transformers.AutoTokenizer.from_pretrained(job["model"]),
        scheme=job["scheme"].removesuffix("_ASYM"),
        layer_config={name: dict(FULL) for name in job["ignore"]},
        seed=job["seed"],
        device_map=0 if torch.cuda.is_available() else "cpu",
        enable_torch_compile=False,  # compiling takes longer than it saves on models that compile at all
        **grouped,
        **data,
        **methods[job["method"]],
    )
    tuner.quantize_and_save(str(folder / "written"), format=job["format"])
    _flatten(folder)
    _as_vllm_reads_it(Path(job["model"]), folder)
    return {"unseen": unseen(model)}


def _flatten(folder: Path) -> None:
    """Moves the files up: AutoRound writes into a folder named after the model and the scheme."""
    for config in (folder / "written").rglob("config.json"):
        for path in config.parent.iterdir():
            path.rename(folder / path.name)
    shutil.rmtree(folder / "written")


def _as_vllm_reads_it(model: Path, folder: Path) -> None:
    """Casts what is not quantized to the model's own dtype: on a CPU without bf16 instructions AutoRound works in
    float32, and writes embeddings and norms in float32 too. Scales stay: NVFP4's and FP8's are float32 by format."""
    import torch
    from safetensors.torch import load_file, save_file

    config, original = (json.loads((f / "config.json").read_text(encoding="utf-8")) for f in (folder, model))
    name = original.get("dtype") or original["torch_dtype"]
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        kept = [k for k, t in tensors.items() if t.dtype == torch.float32 and not k.endswith("_scale")]
        cast = tensors | {k: tensors[k].to(getattr(torch, name)) for k in kept}
        save_file(cast, path, metadata={"format": "pt"})
    config.pop("torch_dtype", None)
    config["dtype"] = name
    # GPTQ's format has this key where layers are ignored. Its names lack the block, so vLLM would take the ignored
    # layers for quantized. Without the key, vLLM looks at the tensors.
    config["quantization_config"].pop("modules_in_block_to_quantize", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _watch(stage: str, on_progress: OnProgress) -> None:
    """Reads progress from AutoRound's progress bar, the only place that has it: one step per block."""
    from tqdm.std import tqdm

    update = tqdm.update

    def told(bar: Any, n: float = 1) -> Any:
        if str(bar.desc).startswith("Quantizing"):
            on_progress(stage, int(bar.n + n), int(bar.total))
        return update(bar, n)

    tqdm.update = told


if __name__ == "__main__":
    run(quantize)
