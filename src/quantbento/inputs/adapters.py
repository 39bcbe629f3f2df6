"""LoRA adapters that stay beside a model: what is wrong with one before any work, and its copy in an artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.core.files import link_or_copy
from quantbento.inputs.checkpoint import tensors
from quantbento.runtimes.adapters import RANKS, adapter_folders

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of every name in PEFT's files
MERGE = "merge it instead: model: {adapter: FOLDER}"
# What vLLM does not run (vllm.lora.peft_helper), by PEFT's key: the values that mean it is not used.
ORDINARY: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "lora_bias": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "layer_replication": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "alora_invocation_tokens": (None, []),
}
CHANGES_BASE = ("pissa", "olora", "corda", "loftq")  # values of init_lora_weights: they need another base model


def problems(folder: Path, linears: Mapping[str, tuple[int, int]]) -> list[str]:
    """What keeps an adapter from running beside a model.

    Args:
        folder: in PEFT's format.
        linears: (outputs, inputs) of the model's linear layers, by name.
    """
    try:
        config = configuration(folder)
        rank = rank_of(config, folder)
    except QuantbentoError as error:
        return [str(error)]
    found = []
    for key, ordinary in ORDINARY.items():
        if (value := config.get(key)) not in ordinary:
            found.append(f"{folder} has {key}={value!r}, which cannot stay beside a quantized model; {MERGE}")
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(CHANGES_BASE):
        found.append(
            f"{folder} was begun with init_lora_weights={init!r}, which changes the base model too; save it with "
            "PEFT's path_initial_model_for_weight_conversion, which makes a plain adapter of it"
        )
    if not (folder / WEIGHTS).is_file():
        told = "has no adapter_model.safetensors"
        if (folder / "adapter_model.bin").is_file():
            told += ": adapter_model.bin is a pickle, which runs code; load it with PEFT and save it anew"
        return [*found, f"{folder} {told}"]
    return found + list(_unfitting(folder, rank, linears))


def configuration(folder: Path) -> dict[str, Any]:
    """What `adapter_config.json` says.

    Raises:
        QuantbentoError: there is none, or it is not a LoRA adapter's.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise QuantbentoError(f"{folder} is no PEFT adapter: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QuantbentoError(f"{path} cannot be read: {summary(error)}") from None
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise QuantbentoError(f"{folder} is an adapter of the kind {kind!r}; only LORA can stay beside a model")
    return config


def rank_of(config: Mapping[str, Any], folder: Path) -> int:
    """Raises `QuantbentoError` for a rank that vLLM has no room for."""
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= RANKS[-1]:
        raise QuantbentoError(f"{folder} has the rank r={rank!r}; allowed: 1 to {RANKS[-1]}")
    return rank


def write(adapters: Mapping[str, Path], artifact: Path) -> dict[str, dict[str, Any]]:
    """Copies adapters into an artifact, and returns what its `runtime_config` says of each, by name. Where the base
    model lay when they were trained does not go along: it is a path of that machine."""
    told = {}
    for name, target in adapter_folders(artifact, adapters).items():
        config = configuration(adapters[name])
        target.mkdir(parents=True)
        link_or_copy((adapters[name] / WEIGHTS).resolve(), target / WEIGHTS)
        kept = json.dumps({**config, "base_model_name_or_path": None}, indent=2)
        (target / CONFIG).write_text(kept, encoding="utf-8")
        modules = sorted({layer.rpartition(".")[2] for layer, _, _ in _parts(adapters[name])})
        told[name] = {"rank": rank_of(config, adapters[name]), "modules": modules}
    return told


def _unfitting(folder: Path, rank: int, linears: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """One line for what does not fit the model: the first layer of each kind, and how many."""
    unknown, sizes = [], []
    for layer, part, shape in _parts(folder):
        if layer == "lm_head":
            yield f"{folder} adapts lm_head, which vLLM cannot score with beside a model; {MERGE}"
            return
        size = linears.get(layer)
        if size is None:
            unknown.append(layer)
            continue
        outputs, inputs = size
        wanted = [rank, inputs] if part.startswith("A") else [outputs, rank]
        if shape != wanted:
            sizes.append(f"{layer} needs lora_{part} of {wanted}, not {shape}")
    if unknown:
        told = f"{folder} is for another model: {len(set(unknown))} of the layers it adapts, as {unknown[0]}, are no"
        yield f"{told} linear layers of this one (it has {one_of(sorted(linears)[:3])}, ...)"
    if sizes:
        yield f"{folder} is for a model of other sizes: {sizes[0]} ({len(sizes)} in all)"


def _parts(folder: Path) -> Iterator[tuple[str, str, list[int]]]:
    """The layer, the part (`A.weight`, `B.weight`) and the shape of each of an adapter's tensors."""
    for name, (_, shape) in tensors(folder).items():
        layer, _, part = name.removeprefix(PREFIX).rpartition(".lora_")
        yield (layer, part, shape) if layer else (name, "", shape)
