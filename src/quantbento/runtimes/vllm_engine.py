"""An offline vLLM engine, run as a separate process by `quantbento.runtimes.vllm`. It reads pickled
`(method, arguments)` from stdin, and writes pickled `(good, answer)` to what was stdout."""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any, BinaryIO, NoReturn

import numpy as np

from quantbento.core.errors import summary
from quantbento.core.imports import uncollected
from quantbento.core.machine import peak_memory_bytes
from quantbento.runtimes.vllm_settings import PLAIN

COUNTED = ("prefix_cache_", "spec_decode_")  # of vLLM's metrics
MOST_TOP = 128  # tokens listed per position; vLLM's default limit is 20


class Engine:
    llm: Any = None

    def start(self, folder: str, arguments: dict[str, Any], adapters: dict[str, str]) -> None:
        """`adapters` are folders of LoRA adapters by name."""
        # Run in this process: another one would import vLLM again, and its memory would not be counted here.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if arguments["tensor_parallel_size"] == 1:
            arguments["distributed_executor_backend"] = "uni"
        with uncollected():
            from vllm import LLM
            from vllm.lora.request import LoRARequest

        # Counting takes time, and nobody asks for it of engines without these settings.
        self._counts = bool(arguments.keys() & PLAIN.keys())
        # vLLM numbers them from 1.
        self._adapters = {n: LoRARequest(n, i, path) for i, (n, path) in enumerate(adapters.items(), start=1)}
        self.llm = LLM(model=folder, max_logprobs=MOST_TOP, disable_log_stats=not self._counts, **arguments)

    def score(self, windows: list[list[int]], top: int, adapter: str | None = None) -> dict[str, np.ndarray]:
        """See `LanguageModel.score`. vLLM lists the token that follows first, then the most probable."""
        from vllm import SamplingParams

        parameters = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=top, flat_logprobs=True, detokenize=False
        )
        outputs = self._run(windows, parameters, adapter)
        ids, logprobs = [], []
        for output in outputs:
            told: Any = output.prompt_logprobs
            ids.append(np.asarray(told.token_ids, np.int32).reshape(-1, top + 1)[:, 1:])
            logprobs.append(np.asarray(told.logprobs, np.float32).reshape(-1, top + 1))
        every = np.stack(logprobs)
        return {"token_logprobs": every[:, :, 0], "top_ids": np.stack(ids), "top_logprobs": every[:, :, 1:]}

    def generate(
        self, prompts: list[list[int]], sampling: dict[str, Any], adapter: str | None = None
    ) -> list[tuple[str, list[int], str]]:
        from vllm import SamplingParams

        parameters = SamplingParams(**{**sampling, "stop": list(sampling["stop"])})
        outputs = self._run(prompts, parameters, adapter)
        firsts = [output.outputs[0] for output in outputs]
        return [(o.text, list(o.token_ids), "stop" if o.finish_reason == "stop" else "length") for o in firsts]

    def _run(self, prompts: list[list[int]], parameters: Any, adapter: str | None) -> Any:
        request = None if adapter is None else self._adapters[adapter]
        return self.llm.generate(_prompts(prompts), parameters, use_tqdm=False, lora_request=request)

    def max_model_len(self) -> int:
        return self.llm.llm_engine.model_config.max_model_len

    def counters(self) -> dict[str, float]:
        """See `LanguageModel.counters`."""
        if not self._counts:
            return {}
        found = {metric.name.removeprefix("vllm:"): getattr(metric, "value", None) for metric in self.llm.get_metrics()}
        return {name: value for name, value in found.items() if value is not None and name.startswith(COUNTED)}

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes()


def _prompts(ids: list[list[int]]) -> list[Any]:
    return [{"prompt_token_ids": sequence} for sequence in ids]


def main() -> None:
    asked, answers = sys.stdin.buffer, private_stdout()
    engine = Engine()
    while True:
        try:
            method, arguments = pickle.load(asked)
        except EOFError:
            leave(engine.llm and engine.llm.llm_engine)
        try:
            answer = (True, getattr(engine, method)(*arguments))
        except Exception as error:
            import traceback

            traceback.print_exc()
            answer = (False, reason(error))
        pickle.dump(answer, answers)
        answers.flush()


def reason(error: Exception) -> str:
    """The error in one line. For wrong settings (pydantic's error), the first line only says how many are wrong."""
    lines = (line.strip() for line in str(error).splitlines())
    if told := next((line for line in lines if line.startswith("Value error, ")), None):
        return told.removeprefix("Value error, ").partition(" [type=")[0]
    return summary(error)


def leave(engine: Any) -> NoReturn:
    """Ends the process at once. Python's own end takes seconds with all that vLLM imports, and nothing has to be saved.

    Args:
        engine: vLLM's `LLMEngine`, whose processes on several GPUs are ended first; None where none was started.
    """
    if engine is not None and engine.vllm_config.parallel_config.world_size > 1:
        engine.engine_core.shutdown()
    sys.stderr.flush()
    os._exit(0)


def private_stdout() -> BinaryIO:
    """Keeps stdout for the answers. What libraries print goes to stderr from here on."""
    kept = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return kept


if __name__ == "__main__":
    main()
