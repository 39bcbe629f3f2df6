"""How layers are quantized alone: by their quantizer, or rounded in PyTorch where vLLM would have to start for each."""

from __future__ import annotations

from quantbento.making.resolve import ResolvedVariant
from quantbento.making.sensitivity.quantized import Quantized
from quantbento.making.sensitivity.rounded import Rounded

Engine = Quantized | Rounded
CALIBRATION_BATCHES = 4  # for each layer: as `openvino` ranks its operators


def engine_of(variant: ResolvedVariant) -> type[Engine]:
    """What quantizes single layers of a variant and runs the model."""
    return Rounded if variant.runtime.name == "vllm" else Quantized
