"""The process of a pooling engine, seen from the process that asks it: calls from many threads at once."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.vllm import SECONDS_TO_END, last_words

ENGINE = "quantbento.runtimes.vllm_pooling_engine"


class PoolingProcess:
    """Starts the engine, and starts it again for the call after one that it died of."""

    def __init__(self, start: tuple[Any, ...], environment: dict[str, str], module: str = ENGINE) -> None:
        """Waits until the model is loaded: seconds to minutes.

        Args:
            start: arguments of `PoolingEngine`.
            environment: variables that the process has beside this one's.
            module: what the process runs.

        Raises:
            QuantbentoError: the engine does not start.
        """
        self._module, self._start, self._environment = module, start, {**os.environ, **environment}
        self._lock = threading.Lock()  # of everything below, for as long as nothing is waited for
        self._starting = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._ensure()

    def ask(self, method: str, *arguments: Any) -> Any:
        """What the process answers. Both ends are this package, so pickle is safe between them.

        Raises:
            QuantbentoError: it refuses, or died.
        """
        self._ensure()
        return self._send(method, *arguments).result()

    def close(self) -> None:
        """Ends the process: it stops when its stdin is closed. May be called again."""
        with self._lock:
            self._closed, process = True, self._process
        if process is not None:
            _end(process)

    def _ensure(self) -> None:
        """Starts the process where there is none; others who come meanwhile wait for it."""
        with self._starting:
            with self._lock:
                if self._closed:
                    raise QuantbentoError("vLLM: the vLLM process has ended already")
                if self._process is not None:
                    return
                log = tempfile.TemporaryFile(prefix="quantbento-vllm-")  # noqa: SIM115 - closed by the reader
                process = self._process = subprocess.Popen(
                    [sys.executable, "-m", self._module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self._environment,
                )
            threading.Thread(target=self._read, args=(process, log), name="quantbento-vllm", daemon=True).start()
            try:
                self._send("start", *self._start).result()
            except BaseException:  # wrong settings, or interrupted: nobody waits for it any more
                _end(process)
                raise

    def _send(self, method: str, *arguments: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        with self._lock:
            process = self._process
            if process is None or process.stdin is None:
                raise QuantbentoError("vLLM: the vLLM process ended")
            number = next(self._numbers)
            self._waiting[number] = answer
            # Where it has died, who reads its answers is told so too, and fails this one.
            with contextlib.suppress(OSError, ValueError):
                pickle.dump((number, method, arguments), process.stdin)
                process.stdin.flush()
        return answer

    def _read(self, process: subprocess.Popen[bytes], log: Any) -> None:
        """In a thread of its own: passes answers on until the process ends."""
        assert process.stdout is not None
        with contextlib.suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                number, good, answer = pickle.load(process.stdout)
                with self._lock:
                    waiting = self._waiting.pop(number)
                if good:
                    waiting.set_result(answer)
                else:
                    waiting.set_exception(QuantbentoError(f"vLLM: {answer}"))
        _end(process)
        with self._lock:
            lost, self._waiting = self._waiting, {}
            if self._process is process:
                self._process = None
        error = QuantbentoError(f"vLLM: the vLLM process ended ({last_words(log)})")
        log.close()
        for waiting in lost.values():
            waiting.set_exception(error)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
