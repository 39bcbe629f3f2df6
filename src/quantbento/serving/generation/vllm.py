"""vLLM inside a BentoML service: started, watched, ended.

BentoML can also proxy a vLLM server (`__command__`). That is one more process that handles every token of every
stream, and readiness that does not follow the engine; `benchmarks/llm_service.py` measures it beside this.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from typing import Any

from pydantic import ValidationError

from quantbento import store
from quantbento.runtimes import artifact
from quantbento.runtimes.vllm_settings import EngineSettings
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe, Receive, Scope, Send
from quantbento.serving.generation.async_engine import VLLMEngine
from quantbento.serving.generation.server import GenerationServer
from quantbento.serving.generation.settings import VLLMSettings

WATCH_SECONDS = 0.2
logger = logging.getLogger("bentoml.serve")


class VLLMServer(GenerationServer):
    """An engine that dies is started again, while the web server answers 503."""

    runtime = "vllm"
    settings: VLLMSettings

    def __init__(self, settings: VLLMSettings, default: str, packed: Packed | None = None) -> None:
        super().__init__(settings, default, packed)
        self._engine: VLLMEngine | None = None
        self._task: Any = None

    def preflight(self) -> None:
        super().preflight()
        stored = self.stored
        try:
            self._engine_settings(stored)
        except ValidationError as error:
            raise CannotServe(f"{stored.tag}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None

    @property
    def ready(self) -> bool:
        return self._engine is not None and self._engine.alive

    @property
    def max_model_len(self) -> int:
        return self._running.max_model_len

    async def generate(self, prompt: str, max_tokens: int, temperature: float) -> dict[str, Any]:
        start = time.perf_counter()
        self.check_ready()
        prompt_ids = self._task.prompt_ids(self._task.check(prompt))
        try:
            text, tokens = await self._running.complete(prompt_ids, max_tokens=max_tokens, temperature=temperature)
        except Exception:
            self.check_ready()  # that it died says more than how the request noticed
            raise
        return {"text": text, "tokens_generated": tokens, "inference_time": time.perf_counter() - start}

    async def _answer_checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._running.app(scope, receive, send)

    @property
    def _running(self) -> VLLMEngine:
        assert self._engine is not None
        return self._engine

    async def _run(self) -> None:
        while True:
            engine = self._engine = await self._start()
            logger.info("Serving %s on vLLM", self.names()[0])
            while engine.alive:
                await asyncio.sleep(WATCH_SECONDS)
            self._engine = None
            logger.error("The engine of %s died; starting it again", self.tag)
            await asyncio.to_thread(engine.stop)

    async def _stop(self) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._engine.stop)
        # An engine that is still loading: without its process the thread that waits for it ends too.
        for process in multiprocessing.active_children():
            process.terminate()

    async def _start(self) -> VLLMEngine:
        stored = self.stored
        self._task = await asyncio.to_thread(artifact.load_task, stored.path)
        settings, limit = self._engine_settings(stored), self.settings.max_tokens
        engine = await asyncio.to_thread(VLLMEngine.start, stored.path, self.names(), settings, limit)
        await engine.open()
        return engine

    def _engine_settings(self, stored: store.StoredModel) -> EngineSettings:
        return self.settings.engine(artifact.describe(stored.path)["runtime_config"].get("engine", {}))
