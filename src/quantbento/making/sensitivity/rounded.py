"""Layers of a language model alone, rounded to nearest in PyTorch.

What vLLM serves would have to be started for every layer, and GPTQ, AWQ and AutoRound take minutes for each. Rounding
shows which layers are hard in a scheme. Weights, and activations where the scheme rounds them, are rounded by
compressed-tensors' own functions, the library whose format vLLM reads, in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.judging.evaluate import checked_rows
from quantbento.making.resolve import ResolvedVariant
from quantbento.runtimes.text_generator import TextGenerator
from quantbento.runtimes.transformers import TransformersRuntime
from quantbento.tasks.base import Arrays
from quantbento.tasks.source import SampleSet


class Rounded:
    """See `quantbento.making.sensitivity.quantized.Quantized`, whose methods these are.

    Raises:
        QuantbentoError: compressed-tensors does not know the variant's scheme.
    """

    runtime = "transformers"

    def __init__(self, job: Job, variant: ResolvedVariant, samples: SampleSet, threads: int, device: str) -> None:
        import torch
        from transformers import GenerationConfig

        torch.set_num_threads(threads)
        self.job, self.variant, self.samples, self.options = job, variant, samples, variant.options
        self.weights, self.activations = _scheme(variant.scheme, getattr(variant.options, "group_size", None))
        module: Any = job.source.module
        self.module = module.to(device)
        self.loaded_model = TextGenerator(
            job.task, TransformersRuntime(self.module, job.task.tokenizer, GenerationConfig()), {}
        )
        self.measured = (
            f"{variant.scheme} by rounding to nearest, whatever {variant.quantizer.name} does; all other layers kept; "
            f"run by transformers in float32, though {variant.runtime.name} serves the variant"
        )

    def layers(self) -> dict[str, int]:
        return self.variant.quantizer.layers(self.job, self.options)

    def full_precision(self) -> Arrays:
        return checked_rows(self.loaded_model, self.samples, "the full-precision model")

    def rows(self, kept: Sequence[str]) -> Arrays:
        with self.loaded(kept):
            return checked_rows(self.loaded_model, self.samples, "the model")

    @contextlib.contextmanager
    def original(self) -> Iterator[tuple[Any, Path | None]]:
        yield self.loaded_model, None

    @contextlib.contextmanager
    def loaded(self, kept: Sequence[str]) -> Iterator[tuple[Any, Path | None]]:
        from torch import nn

        chosen = [pattern for pattern in self.layers() if pattern not in kept]
        before, hooks = [], []
        try:
            for name, module in self.module.named_modules():
                if isinstance(module, nn.Linear) and any(fnmatchcase(name, pattern) for pattern in chosen):
                    before.append((module, module.weight.data))
                    module.weight.data = _weights_rounded(module.weight.data, self.weights)
                    if self.activations is not None:
                        hooks.append(module.register_forward_pre_hook(self._round_input))
            yield self.loaded_model, None
        finally:
            for module, weight in before:
                module.weight.data = weight
            for hook in hooks:
                hook.remove()

    def _round_input(self, module: Any, inputs: tuple[Any, ...]) -> Any:
        """Activations of shape (windows, tokens, channels) with one scale per token."""
        from compressed_tensors.quantization import fake_quantize
        from compressed_tensors.quantization.utils.helpers import compute_dynamic_scales_and_zp

        scale, zero_point = compute_dynamic_scales_and_zp(inputs[0], self.activations, module)
        return (fake_quantize(inputs[0], scale, zero_point, self.activations), *inputs[1:])


def _scheme(name: str, group_size: int | None) -> tuple[Any, Any]:
    """The scheme's weights and activations, as compressed-tensors describes them."""
    from compressed_tensors.quantization import QuantizationArgs, preset_name_to_scheme

    try:
        scheme = preset_name_to_scheme(name, ["Linear"])
    except KeyError as error:
        raise QuantbentoError(
            f"layers in the scheme {name!r} cannot be rounded one by one: compressed-tensors has no such scheme; "
            "take a variant by rtn"
        ) from error
    if scheme.weights.type == "float" or scheme.weights.strategy not in ("channel", "group"):
        raise QuantbentoError(
            f"layers in {name!r} cannot be rounded one by one here; take a variant with integers, such as W4A16"
        )
    if scheme.weights.strategy == "channel":
        return scheme.weights, scheme.input_activations
    weights = scheme.weights.model_dump(exclude={"group_size", "strategy"})
    shape = {"strategy": "channel"} if group_size in (None, -1) else {"strategy": "group", "group_size": group_size}
    if group_size is None:
        return scheme.weights, scheme.input_activations
    return QuantizationArgs(**weights, **shape), scheme.input_activations


def _weights_rounded(weight: Any, scheme: Any) -> Any:
    """A matrix (outputs, inputs), rounded with one scale for each row or each group of its inputs."""
    from compressed_tensors.quantization import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    groups = weight.unflatten(-1, (-1, scheme.group_size or weight.shape[-1]))
    scale, zero_point = calculate_qparams(groups.amin(-1), groups.amax(-1), scheme)
    return fake_quantize(weight, scale, zero_point, scheme)
