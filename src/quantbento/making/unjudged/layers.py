"""What a checkpoint in compressed-tensors' format must hold of each layer, and its weights as numbers again.

Which layers have which scheme, the names, shapes and types of their tensors, and how they are dequantized all come from
the package compressed-tensors, which vLLM and Transformers load such checkpoints with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.making.unjudged.tensors import CheckpointTensors

if TYPE_CHECKING:
    import torch

METHOD = "compressed-tensors"
HALF_OR_MORE = ("torch.float16", "torch.bfloat16", "torch.float32")  # any of them will do for a scale


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer and its scheme, as compressed-tensors has it (`QuantizationScheme`)."""

    name: str
    shape: tuple[int, int]  # outputs, inputs
    scheme: Any
    format: str

    @property
    def bits(self) -> int:
        return int(self.scheme.weights.num_bits)

    def expected(self, dtype: torch.dtype) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape of each tensor, by its name without the layer's.

        Args:
            dtype: of the source's weights.
        """
        import torch
        from compressed_tensors.compressors.base import BaseCompressor
        from compressed_tensors.quantization import initialize_module_for_quantization

        outputs, inputs = self.shape
        module = torch.nn.Linear(inputs, outputs, bias=False, device="meta", dtype=dtype)
        initialize_module_for_quantization(module, self.scheme)
        whole = {name: tensor.data for name, tensor in module.state_dict().items()}
        packed = BaseCompressor.get_value_from_registry(self.format).compress(whole, self.scheme)
        return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in packed.items()}

    def problems(self, tensors: CheckpointTensors, dtype: torch.dtype) -> list[str]:
        """What is missing of it, or is of another shape or type."""
        found = []
        for part, (kind, shape) in self.expected(dtype).items():
            name = f"{self.name}.{part}"
            if name not in tensors:
                found.append(f"{name} is missing")
                continue
            tensor = tensors.get(name)
            alike = tensor.dtype == kind or {str(tensor.dtype), str(kind)} <= set(HALF_OR_MORE)
            if not alike or tuple(tensor.shape) != shape:
                found.append(f"{name} is {_described(tensor.dtype, tensor.shape)}, not {_described(kind, shape)}")
        return found

    def weight(self, tensors: CheckpointTensors) -> torch.Tensor:
        """The dequantized matrix (outputs, inputs)."""
        from compressed_tensors.compressors.base import BaseCompressor

        parts = {part: tensors.get(f"{self.name}.{part}") for part in tensors.below(self.name) if part != "bias"}
        return BaseCompressor.get_value_from_registry(self.format).decompress(parts, self.scheme)["weight"]


def parsed(config: dict[str, Any]) -> Any:
    """`quantization_config` of a config.json as compressed-tensors' `QuantizationConfig`.

    Raises:
        QuantbentoError: the package cannot read it.
    """
    from compressed_tensors.quantization import QuantizationConfig

    try:
        return QuantizationConfig.model_validate(config)
    except Exception as error:  # pydantic's, and what its validators raise
        raise QuantbentoError(f"quantization_config cannot be read by compressed-tensors: {summary(error)}") from error


def quantized_layers(config: Any, linears: Mapping[str, tuple[int, int]]) -> list[QuantizedLayer]:
    """The layers that are quantized by a configuration.

    Args:
        config: compressed-tensors' `QuantizationConfig`.
        linears: outputs and inputs of the source's linear layers, by the names that its checkpoint has for them;
            experts one by one.
    """
    import torch
    from compressed_tensors.compressors.base import infer_module_format

    with torch.device("meta"):
        linear = torch.nn.Linear(1, 1)
    found = []
    for layer, shape in linears.items():
        if (scheme := _scheme_of(layer, linear, config)) is not None and scheme.weights is not None:
            told = scheme.format or config.format
            mixed = told is None or str(told) in ("mixed-precision", "dense", "fakequant")
            kind = infer_module_format(type(linear), scheme) if mixed else told
            found.append(QuantizedLayer(layer, shape, scheme, str(getattr(kind, "value", kind))))
    return found


def _scheme_of(name: str, module: torch.nn.Module, config: Any) -> Any:
    """The scheme of a module: a target that names it wins over a pattern, and that over a class of modules."""
    from compressed_tensors.utils import is_match

    matches = [
        (0 if target == name else 1 if target.startswith("re:") else 2, number)
        for number, scheme in enumerate(config.config_groups.values())
        for target in scheme.targets
        if is_match(name, module, target, config.ignore or [])
    ]
    return list(config.config_groups.values())[min(matches)[1]] if matches else None


def _described(dtype: Any, shape: Iterable[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
