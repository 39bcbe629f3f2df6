"""A vLLM engine for encoders, rerankers and classifiers, run as a separate process by
`quantbento.runtimes.vllm_pooling`. It reads pickled `(number, method, arguments)` from stdin, and writes pickled
`(number, good, answer)` to what was stdout, in the order in which calls are done.

Calls may overlap: the texts of all calls that are there run in the batches that vLLM makes of them.
"""

from __future__ import annotations

import os
import pickle
import threading
from dataclasses import dataclass
from queue import Queue
from typing import Any, BinaryIO

import numpy as np

from quantbento.core.imports import uncollected
from quantbento.core.machine import peak_memory_bytes
from quantbento.runtimes.vllm_engine import leave, private_stdout, reason

Message = tuple[int, str, tuple[Any, ...]]


@dataclass
class Call:
    """Texts that wait for vLLM: `rows` holds an array for each that is done."""

    rows: list[np.ndarray | None]
    missing: int


class PoolingEngine:
    """vLLM's engine in this process, without its tokenizer: it gets token ids and gives one array per text."""

    def __init__(self, folder: str, task: str, pooling: str | None, arguments: dict[str, Any]) -> None:
        """
        Args:
            folder: a checkpoint in hub format.
            task: vLLM's name of what it does: "embed", "classify" or "token_classify".
            pooling: "MEAN", "CLS" or "LAST" for embeddings; None is the model's own, as of a classifier.
            arguments: of vLLM's `EngineArgs`.
        """
        # Run in this process: another one would import vLLM again, and its memory would not be counted here.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if arguments["tensor_parallel_size"] == 1:
            arguments["distributed_executor_backend"] = "uni"
        with uncollected():
            from vllm.config import PoolerConfig
            from vllm.engine.arg_utils import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine

        pooler = PoolerConfig(task=task, seq_pooling_type=pooling)  # type: ignore[arg-type]  # checked by vLLM
        given = EngineArgs(
            model=folder,
            runner="pooling",
            skip_tokenizer_init=True,
            pooler_config=pooler,
            disable_log_stats=True,
            **arguments,
        )
        self.engine = LLMEngine.from_engine_args(given)
        self._task = task
        self._calls: dict[int, Call] = {}

    @property
    def busy(self) -> bool:
        return self.engine.has_unfinished_requests()

    def add(self, number: int, ids: list[list[int]], types: list[list[int]] | None) -> None:
        """Begins a call: token ids of each text, and their token type ids where the model has such."""
        from vllm import PoolingParams
        from vllm.entrypoints.pooling.scoring.utils import compress_token_type_ids

        self._calls[number] = Call([None] * len(ids), len(ids))
        for place, sequence in enumerate(ids):
            # The raw numbers: normalisation, softmax and sigmoid are the task's, as in every other runtime.
            parameters = PoolingParams(task=self._task, use_activation=False)  # type: ignore[arg-type]
            if types is not None and any(types[place]):
                parameters.extra_kwargs = {"compressed_token_type_ids": compress_token_type_ids(types[place])}
            try:
                self.engine.add_request(f"{number}-{place}", {"prompt_token_ids": sequence}, parameters)  # type: ignore[arg-type]
            except Exception:
                self.engine.abort_request([f"{number}-{before}" for before in range(place)])
                del self._calls[number]
                raise

    def step(self) -> list[tuple[int, list[np.ndarray | None]]]:
        """Runs a batch. The calls that it completes, with an array for each text."""
        done = []
        for output in self.engine.step():
            number, place = map(int, output.request_id.split("-"))
            if (call := self._calls.get(number)) is None or not output.finished:
                continue
            call.rows[place] = output.outputs.data.float().cpu().numpy()  # type: ignore[union-attr]
            call.missing -= 1
            if not call.missing:
                done.append((number, self._calls.pop(number).rows))
        return done


def main() -> None:
    """Ends when stdin does, or when a batch fails: what vLLM holds after that is unknown."""
    answers = private_stdout()
    messages: Queue[Message | None] = Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    engine: PoolingEngine | None = None
    while (message := messages.get()) is not None:
        engine = _handle(message, engine, answers)
        while engine is not None and (engine.busy or not messages.empty()):
            # Whatever has come meanwhile joins the next batch.
            while not messages.empty():
                if (message := messages.get()) is None:
                    leave(engine.engine)
                _handle(message, engine, answers)
            for number, rows in engine.step() if engine.busy else ():
                _tell(answers, number, True, rows)
    leave(engine and engine.engine)


def _handle(message: Message, engine: PoolingEngine | None, answers: BinaryIO) -> PoolingEngine | None:
    """Does what a message asks, or begins it; returns the engine, once there is one."""
    number, method, arguments = message
    try:
        if method == "start":
            engine = PoolingEngine(*arguments)
            _tell(answers, number, True, None)
        elif method == "pool":
            assert engine is not None
            engine.add(number, *arguments)
        elif method == "peak_memory_bytes":
            _tell(answers, number, True, peak_memory_bytes())
    except Exception as error:
        import traceback

        traceback.print_exc()
        _tell(answers, number, False, reason(error))
    return engine


def _read(messages: Queue[Message | None]) -> None:
    import sys

    while True:
        try:
            messages.put(pickle.load(sys.stdin.buffer))
        except (EOFError, OSError):
            messages.put(None)
            return


def _tell(answers: BinaryIO, number: int, good: bool, answer: Any) -> None:
    pickle.dump((number, good, answer), answers)
    answers.flush()


if __name__ == "__main__":
    main()
