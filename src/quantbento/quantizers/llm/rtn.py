"""Weights rounded to nearest, without data: the floor that every other method must reach or beat.

In compressed-tensors' format, tensor by tensor from disk (`quantbento.quantizers.llm.streaming`): the model may be
larger than memory. In the formats `gptq` and `awq` AutoRound rounds, which holds the model in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized
from quantbento.quantizers.llm import eight_bit, written
from quantbento.quantizers.llm.autoround_base import AutoRoundQuantizer, Int4Options
from quantbento.quantizers.llm.checkpoint_quantizer import chosen_and_raised, facts_of, kept_names
from quantbento.quantizers.llm.streaming import memory, run
from quantbento.quantizers.llm.streaming.parts import Stored, stored

STREAMED = "compressed-tensors"  # the format


class RtnOptions(Int4Options):
    scheme: Literal["W4A16", "W4A16_ASYM", "W8A16", "W8A8", "FP8_DYNAMIC", "FP8_BLOCK"] = Field(  # type: ignore[assignment]
        "W4A16", description="docs/language-models.md says which scheme is for what"
    )


class Rtn(AutoRoundQuantizer):
    name = "rtn"
    Options = RtnOptions

    def memory_bytes(self, model: CheckpointFacts, options: RtnOptions) -> int | None:
        if options.format != STREAMED:
            return None
        return memory.estimate(model, self._schemes(model, options), self.group_size(options))

    def quantize(self, job: Job, options: RtnOptions, folder: Path) -> Quantized:
        if options.format != STREAMED:
            return super().quantize(job, options, folder)
        facts = facts_of(job)
        chosen, raised = chosen_and_raised(facts, options)
        schemes = self._schemes(facts, options)
        _check_stored(facts.folder, stored(facts.folder), schemes)
        kept = kept_names(facts, chosen)
        told = run.quantize(job, self.name, schemes, self.group_size(options), kept, folder)
        written.finish(folder, facts, kept)
        done = self.tally(facts, chosen, raised, options, folder)
        return replace(done, peak_memory_bytes=told["peak_memory_bytes"])

    def _schemes(self, facts: CheckpointFacts, options: RtnOptions) -> dict[str, str]:
        """The scheme of each layer to quantize, by its name."""
        chosen, raised = chosen_and_raised(facts, options)
        in_8 = set(raised)
        return {name: eight_bit.SCHEME if name in in_8 else self.scheme_of(options) for name in chosen}


def _check_stored(folder: Path, tensors: list[Stored], schemes: dict[str, str]) -> None:
    """
    Raises:
        QuantbentoError: a layer to quantize is not a matrix of floats in the checkpoint's files.
    """
    matrices = {tensor.name.removesuffix(".weight") for tensor in tensors if tensor.is_matrix}
    if missing := [name for name in schemes if name not in matrices]:
        names = ", ".join(missing[:3]) + f" and {len(missing) - 3} more" * (len(missing) > 3)
        raise QuantbentoError(
            f"{folder} has no matrix of floats named {names} (.weight). Weights that are shared with the embeddings "
            "(lm_head) go into ignore; files with names or types of their own are rewritten by loading the model "
            "with Transformers and saving it (`save_pretrained`)"
        )
