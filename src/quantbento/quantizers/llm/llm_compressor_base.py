"""What the methods of llm-compressor share: a worker in an environment of its own, and calibration."""

from __future__ import annotations

from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointQuantizer
from quantbento.quantizers.llm.workers import LLM_COMPRESSOR, LLM_COMPRESSOR_REQUIREMENTS


class LlmCompressorQuantizer(CheckpointQuantizer):
    """`name` is the worker's method."""

    data = "calibration"
    sees_all_experts = True
    modules = ("uv",)
    distributions = ()  # the worker's environment is pinned by `requirements`
    worker = LLM_COMPRESSOR
    requirements = LLM_COMPRESSOR_REQUIREMENTS
