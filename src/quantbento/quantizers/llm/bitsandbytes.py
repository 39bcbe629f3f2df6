"""bitsandbytes through Transformers: NF4 (QLoRA's 4-bit float, https://arxiv.org/abs/2305.14314) and LLM.int8()
(https://arxiv.org/abs/2208.07339). The checkpoint is saved quantized. vLLM no longer loads such checkpoints;
Transformers does."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.job import Job
from quantbento.inputs.layers import experts_of
from quantbento.quantizers.base import Quantized, Quantizer, exactly
from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointOptions, choose, count, facts_of, kept_names


class Nf4Options(CheckpointOptions):
    double_quantization: bool = Field(True, description="quantize the scales too")
    compute_dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="auto: the model's")


class Int8Options(CheckpointOptions):
    threshold: float = Field(6.0, ge=0, description="activations above it are multiplied in 16 bit")


class BitsAndBytes(Quantizer):
    runtimes = ("transformers",)
    starts_from = ("checkpoint",)
    extra = "llm"
    modules = ("bitsandbytes", "accelerate")
    distributions = ("bitsandbytes", "accelerate", "transformers", "torch")
    devices = ("cpu", "cuda")
    keeps = "ignore"

    @abstractmethod
    def config(self, options: Any, dtype: str) -> dict[str, Any]:
        """Keyword arguments of `transformers.BitsAndBytesConfig`."""

    def preflight(self, model: checkpoint.CheckpointFacts, options: CheckpointOptions) -> list[str]:
        try:
            chosen = choose(model, options)
        except QuantbentoError as error:
            return [str(error)]
        if experts_of(chosen):
            return [
                "Transformers holds the experts of a layer as one tensor, which bitsandbytes leaves in 16 bit; add "
                "'*.experts.*' to ignore, or use rtn, awq, autoround or gptq"
            ]
        if model.vision:
            return ["bitsandbytes is for causal language models here; use rtn for a vision-language model"]
        return []

    def layers(self, job: Job, options: CheckpointOptions) -> dict[str, int]:
        facts = facts_of(job)
        chosen = choose(facts, options)
        return {p: prod(facts.linears[n]) for p, n in zip(exactly(chosen), chosen, strict=True)}

    def quantize(self, job: Job, options: Any, folder: Path) -> Quantized:
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        assert job.source.folder is not None and job.source.dtype is not None
        facts = facts_of(job)
        chosen = choose(facts, options)
        config = BitsAndBytesConfig(
            llm_int8_skip_modules=sorted(facts.modules.get(n, n) for n in kept_names(facts, chosen)),
            **self.config(options, job.source.dtype),
        )
        module = AutoModelForCausalLM.from_pretrained(
            job.source.folder,
            quantization_config=config,
            dtype=job.source.dtype,
            trust_remote_code=job.source.trust_remote_code,
        )
        module.save_pretrained(folder)
        return count(facts, chosen, folder, self.scheme)


class Nf4(BitsAndBytes):
    name = "bnb-nf4"
    scheme = "NF4"
    Options = Nf4Options

    def weight_bits(self, options: Nf4Options) -> dict[int, float]:
        """A block of 64 weights has a float32 scale, or an 8-bit one, of which 256 share a float32 scale
        (https://arxiv.org/abs/2305.14314, section 3)."""
        return {4: 4 + 8 / 64 + 32 / (64 * 256) if options.double_quantization else 4 + 32 / 64}

    def config(self, options: Nf4Options, dtype: str) -> dict[str, Any]:
        return {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": options.double_quantization,
            "bnb_4bit_compute_dtype": dtype if options.compute_dtype == "auto" else options.compute_dtype,
        }


class Int8(BitsAndBytes):
    name = "bnb-int8"
    scheme = "LLM.int8"
    Options = Int8Options

    def config(self, options: Int8Options, dtype: str) -> dict[str, Any]:
        return {"load_in_8bit": True, "llm_int8_threshold": options.threshold}
