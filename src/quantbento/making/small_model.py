"""A model of the same architecture as another, with two layers and random weights: made in seconds, from the
configuration alone.

Its widths are the original's, because kernels and group sizes depend on them, unless it would still be large. It is
then made narrower as far as the architecture allows: attention heads are left out, and experts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs.folders import SMALL_FILES

LAYERS = 2
MOST_PARAMETERS = 300_000_000  # with the vocabulary of a large language model and 1,024 dimensions
COUNTS = ("num_hidden_layers", "encoder_layers", "decoder_layers")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
WIDTHS = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size")
MULTIPLE = 128  # the group size of INT4, and more than any kernel asks of a width


def write(source: Path, auto_class: str, target: Path, *, on_disk: bool, trust_remote_code: bool = False) -> bool:
    """Writes the small model into the folder `target`, with the tokenizer and whatever else is in `source`, where
    weights may be missing.

    Args:
        auto_class: the Transformers class that reads it.
        on_disk: whether it is a checkpoint in the dtype that the configuration names; otherwise it is in float32.

    Returns:
        Whether its widths are the original's.

    Raises:
        QuantbentoError: no model can be made from the configuration.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    _copy_small_files(source, target)
    try:
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
        values = config.to_dict()
        for part, names in _parts(config, values):
            _cut(part, names)
        make = _Maker(auto_class, target, trust_remote_code)
        as_wide = _narrow(values, make)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            dtype = getattr(torch, str(values.get("dtype") or "float32")) if on_disk else torch.float32
            make(values).to(dtype).save_pretrained(target)
    except Exception as error:  # a model's own code can raise anything
        raise QuantbentoError(
            f"no small model could be made from the configuration in {source}: {summary(error)}"
        ) from error
    return as_wide


class _Maker:
    """Makes a model with random weights from the values of a configuration."""

    def __init__(self, auto_class: str, folder: Path, trust_remote_code: bool) -> None:
        self.auto_class, self.folder, self.trust_remote_code = auto_class, folder, trust_remote_code

    def __call__(self, values: dict[str, Any]) -> Any:
        import transformers

        (self.folder / "config.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
        trusted = self.trust_remote_code
        config = transformers.AutoConfig.from_pretrained(self.folder, trust_remote_code=trusted)
        return getattr(transformers, self.auto_class).from_config(config, trust_remote_code=trusted)

    def parameters(self, values: dict[str, Any]) -> int:
        """How many it has; no weight is made for that."""
        import torch

        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self(values).parameters())


def _parts(config: Any, values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The values of a configuration and of each one inside it (of a text and an image model in one), with the names
    that they use instead of the standard ones."""
    yield values, dict(getattr(config, "attribute_map", {}))
    for name in getattr(config, "sub_configs", {}):
        if isinstance(values.get(name), dict) and getattr(config, name, None) is not None:
            yield from _parts(getattr(config, name), values[name])


def _cut(values: dict[str, Any], names: dict[str, str]) -> None:
    """Two layers instead of all, or one of each type where there are more types than that. Models in stages keep their
    stages, with at most two layers in each."""
    if isinstance(depths := values.get("depths"), list):
        values["depths"] = [min(depth, LAYERS) for depth in depths]
        return
    for name in (names.get(count, count) for count in COUNTS):
        if not isinstance(count := values.get(name), int) or count <= LAYERS:
            continue
        lists = {key: value for key, value in values.items() if isinstance(value, list) and len(value) == count}
        kept = _kept(lists.get("layer_types") or [None] * count)
        values.update({key: [value[index] for index in kept] for key, value in lists.items()})
        values[name] = len(kept)


def _kept(types: list[Any]) -> list[int]:
    """Indices of the layers to keep: the first of each type, and at least two."""
    first = [types.index(kind) for kind in dict.fromkeys(types)]
    others = [index for index in range(len(types)) if index not in first]
    return sorted(first + others[: max(0, LAYERS - len(first))])


def _narrow(values: dict[str, Any], make: _Maker) -> bool:
    """Makes the model narrower until it is small. Returns whether that was not necessary."""
    as_wide = True
    while make.parameters(values) > MOST_PARAMETERS:
        narrower = dict(values)
        if not (_fewer_experts(narrower) or _fewer_heads(narrower)):
            break
        values.update(narrower)
        as_wide = False
    return as_wide


def _fewer_experts(values: dict[str, Any]) -> bool:
    used = values.get("num_experts_per_tok") or 1
    found = [name for name in EXPERTS if isinstance(values.get(name), int) and values[name] > max(2, used)]
    values.update(dict.fromkeys(found, max(2, used)))
    return bool(found)


def _fewer_heads(values: dict[str, Any]) -> bool:
    """Half the attention heads, or what is left with one head for keys and values; other widths shrink with them."""
    heads, width = values.get("num_attention_heads"), values.get("hidden_size")
    groups = values.get("num_key_value_heads") or heads
    if not (isinstance(heads, int) and isinstance(groups, int) and isinstance(width, int)):
        return False
    if groups < 2 or heads % groups:
        return False
    fewer_groups = groups // 2
    fewer = heads // groups * fewer_groups
    if values.get("num_key_value_heads"):
        values["num_key_value_heads"] = fewer_groups
    values["num_attention_heads"] = fewer
    if values.get("head_dim"):  # only then may the width be another than that of all heads together
        values["hidden_size"] = _rounded(width * fewer // heads)
    else:
        values["hidden_size"] = width // heads * fewer
    for name in WIDTHS:
        if isinstance(own := values.get(name), int) and own > MULTIPLE:
            values[name] = _rounded(own * fewer // heads)
    return True


def _rounded(width: int) -> int:
    return max(MULTIPLE, width // MULTIPLE * MULTIPLE)


def _copy_small_files(source: Path, target: Path) -> None:
    """Everything but weights: the tokenizer, a processor, sentence-transformers files, code that comes with it."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted({path for pattern in SMALL_FILES for path in source.rglob(pattern)}):
        name = path.relative_to(source)
        if path.name.endswith(".index.json") or any(part.startswith(".") for part in name.parts):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
