"""The schemes of compressed-tensors that language models are quantized to here, and what runs them in vLLM: one table.

Sources, of vLLM 0.32: `get_min_capability` of the classes in
`vllm/model_executor/layers/quantization/compressed_tensors/schemes`; `is_supported` and `can_implement` of the kernels
in `vllm/model_executor/kernels/linear`, and there the lists of kernels by platform (`_POSSIBLE_*_KERNELS`). That INT8
products are not for Blackwell: https://docs.vllm.ai/en/latest/features/quantization/int8/. What the lists say about
CPUs was tried: docs/language-models.md, "Which scheme".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quantbento.core import machine
from quantbento.runtimes.vllm_settings import runs_on_cpu

AMX = "amx_tile"  # the CPU flag, of Intel's CPUs since Sapphire Rapids


@dataclass(frozen=True)
class Scheme:
    """One scheme, and where vLLM runs it.

    Attributes:
        name: as compressed-tensors calls it.
        weights, activations: what a linear layer's are rounded to.
        bits: of one weight, without scales.
        scale_bits: of one scale, with its zero point where there is one.
        group: input channels that share a scale; -1: one scale per row; None: the recipe's `group_size`.
        block: output channels that share a scale too, where that is more than one.
        capability: the least compute capability of an NVIDIA GPU that runs it, as vLLM writes it: 75 is 7.5.
        computes_from: the least with which products are computed in this format. On GPUs below it weights are
            expanded to 16 bit for each product: that saves memory, and for small batches time.
        also: the tensors of a layer besides its weights and `weight_scale`, in compressed-tensors' formats.
        below: GPUs of this compute capability or a higher one do not run it; None where there is no limit.
        cpu: what a CPU build of vLLM needs to run it; None: it has no kernel for it.
    """

    name: str
    weights: str
    activations: str
    bits: int
    scale_bits: int
    group: int | None
    capability: int
    computes_from: int | None
    cpu: Literal["any", "amx"] | None
    block: int = 1
    also: tuple[str, ...] = ()
    below: int | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """The kinds of devices that can run it, as PyTorch calls them."""
        return ("cuda",) if self.cpu is None else ("cpu", "cuda")

    def needs(self) -> str:
        """Where vLLM runs it, in one line."""
        gpu = f"a GPU of compute capability {capability(self.capability)}"
        gpu += f" to below {capability(self.below)}" if self.below else " or higher"
        if self.computes_from and self.computes_from > self.capability:
            gpu += f" (below {capability(self.computes_from)} weights only)"
        return gpu + {"any": ", or a CPU", "amx": ", or a CPU with AMX", None: "; no CPU"}[self.cpu]

    def problem_here(self) -> str | None:
        """Why vLLM as it is installed here cannot run it on this machine; None where it can, or where there is no
        telling before vLLM is installed."""
        if machine.missing_packages(["vllm"]):
            return None
        if runs_on_cpu():
            return self.problem_on_cpu(machine.cpu_flags())
        import torch

        if not torch.cuda.is_available():
            return None  # another check says so
        major, minor = torch.cuda.get_device_capability()
        return self.problem_on_gpu(10 * major + minor)

    def problem_on_cpu(self, flags: set[str]) -> str | None:
        """Why vLLM's build for CPUs cannot run it on a CPU with these flags."""
        if self.cpu == "any" or (self.cpu == "amx" and AMX in flags):
            return None
        has = "this CPU has no AMX" if self.cpu == "amx" else "vLLM has no kernel for it on CPUs"
        return f"{self.name} does not run here: {has}. It needs {self.needs()}"

    def problem_on_gpu(self, has: int) -> str | None:
        """Why a GPU of this compute capability (89 is 8.9) cannot run it."""
        if self.capability <= has and (self.below is None or has < self.below):
            return None
        here = f"this GPU's compute capability is {capability(has)}"
        return f"{self.name} does not run here: {here}. It needs {self.needs()}"


INT4 = ("INT4 per group", "16 bit", 4)
GLOBAL = ("weight_global_scale", "input_global_scale")
TABLE = (
    # Marlin's kernels from 7.5 on, Machete's from 9.0 on; both compute in 16 bit. CPUs: CPUWNA16LinearKernel.
    Scheme("W4A16", *INT4, 16, None, capability=75, computes_from=None, cpu="any"),
    Scheme("W4A16_ASYM", *INT4, 20, None, capability=75, computes_from=None, cpu="any", also=("weight_zero_point",)),
    # The same kernels on GPUs, but CPUWNA16LinearKernel takes 4 bit only.
    Scheme("W8A16", "INT8 per group", "16 bit", 8, 16, None, capability=75, computes_from=None, cpu=None),
    # CutlassInt8ScaledMMLinearKernel; CPUInt8ScaledMMLinearKernel.
    Scheme("W8A8", "INT8 per row", "INT8 per token", 8, 16, -1, capability=75, computes_from=75, cpu="any", below=100),
    # CompressedTensorsW8A8Fp8 from 8.9 on, below that CompressedTensorsW8A16Fp8. CPUs: CPUFP8W8A8ScaledMMLinearKernel
    # with AMX, without it ChannelWiseTorchFP8ScaledMMLinearKernel, which is `torch._scaled_mm`.
    Scheme("FP8_DYNAMIC", "FP8 per row", "FP8 per token", 8, 16, -1, capability=75, computes_from=89, cpu="any"),
    # CPUFp8W8A8BlockScaledMMKernel, with AMX only.
    Scheme("FP8_BLOCK", "FP8 per 128 x 128", "FP8 per 128", 8, 32, 128, 75, computes_from=89, cpu="amx", block=128),
    # Marlin's kernels, and from 10.0 on CUTLASS's and FlashInfer's. `_POSSIBLE_NVFP4_KERNELS` has none for CPUs.
    Scheme("NVFP4", "FP4 per 16", "FP4 per 16", 4, 8, 16, capability=75, computes_from=100, cpu=None, also=GLOBAL),
    # CompressedTensorsW4A4Mxfp4 asks for 8.0; FlashInfer's kernel for 10.0. `_POSSIBLE_MXFP4_KERNELS`: none for CPUs.
    Scheme("MXFP4", "FP4 per 32", "FP4 per 32", 4, 8, 32, capability=80, computes_from=100, cpu=None),
)
SCHEMES = {scheme.name: scheme for scheme in TABLE}


def capability(number: int) -> str:
    """NVIDIA's way to write it: 8.9 for 89."""
    return f"{number // 10}.{number % 10}"
