"""vLLM inside a BentoML service: started, watched, ended.

BentoML can also proxy a vLLM server (`__command__`). That is one more process that handles every token of every
stream, and readiness that does not follow the engine; `benchmarks/llm_service.py` measures it beside this.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from typing import Any

from pydantic import ValidationError

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.serving.asgi import Receive, Scope, Send
from quantbento.serving.generation.engine import Engine
from quantbento.serving.generation.nodes import NodeSettings
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.generation.vllm_process import VLLMProcess
from quantbento.tasks.text_generation import TextGeneration

WATCH_SECONDS = 0.2
logger = logging.getLogger("bentoml.serve")


class VLLMEngine(Engine):
    """vLLM's own engine for servers, with the settings of the one that judged the model. A process that dies is
    started again, while the web server answers 503."""

    def __init__(self, stored: store.StoredModel, names: list[str], settings: GenerationSettings) -> None:
        super().__init__(stored, names, settings)
        self._process: VLLMProcess | None = None
        self._task: Any = None

    @classmethod
    def check_settings(cls, settings: GenerationSettings, description: dict[str, Any]) -> None:
        if "threads" in settings.model_fields_set:
            raise QuantbentoError(
                "setting 'threads' has no effect on a model that runs on vllm, in a process of its own; leave it out"
            )
        try:
            _engine_settings(settings, description)
        except ValidationError as error:
            raise QuantbentoError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    @property
    def ready(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def task(self) -> TextGeneration:
        assert self._task is not None
        return self._task

    @property
    def max_model_len(self) -> int:
        return self._running.max_model_len

    async def complete(
        self, prompt: str, max_tokens: int, temperature: float, adapter: str | None = None
    ) -> tuple[str, int]:
        prompt_ids = self.task.prompt_ids(self.task.check(prompt))
        fields = {"max_tokens": max_tokens, "temperature": temperature, "model": adapter}
        return await self._running.complete(prompt_ids, **fields)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._running.app(scope, receive, send)

    async def run(self) -> None:
        while True:
            process = self._process = await self._start()
            logger.info("Serving %s on vLLM", self.names[0])
            while process.alive:
                await asyncio.sleep(WATCH_SECONDS)
            self._process = None
            await asyncio.to_thread(process.stop)
            if self.settings.nodes > 1:  # the others have to start again too; who started them sees this one end
                raise QuantbentoError(f"the engine of {self.names[0]} died, on {self.settings.nodes} machines")
            logger.error("The engine of %s died; starting it again", self.names[0])

    async def stop(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)
        # An engine that is still loading: without its process the thread that waits for it ends too.
        for process in multiprocessing.active_children():
            process.terminate()

    @property
    def _running(self) -> VLLMProcess:
        assert self._process is not None
        return self._process

    async def _start(self) -> VLLMProcess:
        folder = self.stored.path
        self._task = await asyncio.to_thread(artifact.load_task, folder)
        settings, limit = _engine_settings(self.settings, artifact.describe(folder)), self.settings.max_tokens
        parser = self.settings.tool_parser
        start = VLLMProcess.start
        process = await asyncio.to_thread(start, folder, self.names, settings, limit, parser, self.adapters)
        await process.open()
        return process


def _engine_settings(settings: GenerationSettings, description: dict[str, Any]) -> NodeSettings:
    return settings.engine(description["runtime_config"].get("engine", {}))
