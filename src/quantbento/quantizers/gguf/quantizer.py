"""GGUF: weights in blocks of 32 or 256 with shared scales, in the types of llama.cpp, which serves them.

llama.cpp's converter writes the checkpoint as it is (`quantbento.inputs.gguf`), and its `llama_model_quantize` rounds
the weights, both outside this process. Which tensor gets which type is llama.cpp's own rule: a `Q4_K_M` file has some
tensors in `Q6_K`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from sys import executable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import default_threads
from quantbento.inputs import gguf
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Data, Quantized, Quantizer, QuantizerOptions
from quantbento.quantizers.gguf import contents
from quantbento.runtimes.llama_cpp import MODEL

WORKER = Path(__file__).with_name("quantize_worker.py")
Type = Literal[
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q4_K_M",
    "Q4_0",
    "IQ4_NL",
    "IQ4_XS",
    "IQ3_M",
    "IQ3_S",
    "IQ3_XXS",
    "IQ2_M",
    "IQ2_S",
    "IQ2_XS",
    "IQ2_XXS",
]


class GgufOptions(QuantizerOptions):
    type: Type = Field("Q4_K_M", description="what llama.cpp calls the whole file's type")
    importance_matrix: bool | None = Field(
        None,
        description="weigh rounding errors by the squares of the activations on the calibration texts; by default for "
        "IQ types only",
    )

    @property
    def weighs(self) -> bool:
        return self.type.startswith("IQ") if self.importance_matrix is None else self.importance_matrix


class Gguf(Quantizer):
    name = "gguf"
    scheme = "Q4_K_M"
    runtimes = ("llama-cpp",)
    starts_from = ("checkpoint",)
    optional_data = "calibration"
    modules = ("llama_cpp", "gguf", "torch", "transformers", "uv")
    distributions = ("llama-cpp-python", "gguf", "torch", "transformers")
    extra = "gguf"
    Options = GgufOptions

    @classmethod
    def made_on_first_use(cls) -> str | None:
        return isolated.made_on_first_use(gguf.REQUIREMENTS)

    def needs(self, options: GgufOptions) -> Data | None:
        return "calibration" if options.weighs else None

    def scheme_of(self, options: GgufOptions) -> str:
        return options.type

    def preflight(self, model: CheckpointFacts, options: GgufOptions) -> list[str]:
        if options.type.startswith(("IQ2", "IQ3_XXS")) and not options.weighs:
            return [f"{options.type} cannot be made without an importance matrix; leave importance_matrix out"]
        return []

    def quantize(self, job: Job, options: GgufOptions, folder: Path) -> Quantized:
        assert job.source.folder is not None
        exact = job.gguf()
        with tempfile.TemporaryDirectory(prefix="quantbento-") as temporary:
            calibration = None
            if options.weighs:
                if job.calibration is None:
                    raise QuantbentoError(f"gguf: {options.type} needs calibration texts for its importance matrix")
                calibration = Path(temporary) / "calibration.npy"
                np.save(calibration, job.calibration)
            work: dict[str, Any] = {
                "model": str(job.source.folder),
                "gguf": str(exact),
                "output": str(folder / MODEL),
                "type": options.type,
                "calibration": calibration and str(calibration),
                "trust_remote_code": job.source.trust_remote_code,
                "threads": default_threads(),
            }
            with job.progress.stage(self.name) as advance:
                told = isolated.run(Path(executable), WORKER, work, lambda stage, done, total: advance(done, total))
        return contents.count(contents.read(folder / MODEL), told["fallbacks"])
