"""A language model in the service's own process, by the contract of its runtime alone, behind OpenAI's endpoints.

One text at a time, in a thread of its own; requests wait in a queue. For checkpoints vLLM does not load
(bitsandbytes) and machines without it; vLLM runs requests together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
from starlette.requests import Request

from quantbento import store
from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes.language_model import Generated, Sampling
from quantbento.runtimes.text_generator import TextGenerator
from quantbento.serving.asgi import CLIENT_LEFT, Receive, Scope, Send
from quantbento.serving.generation.engine import Engine
from quantbento.serving.generation.guard import REQUESTS
from quantbento.serving.generation.metrics import GenerationMetrics, Tell, Watched
from quantbento.serving.generation.openai_texts import TextsResponse, Told
from quantbento.serving.generation.requests import ChatRequest, CompletionRequest, GenerationRequest
from quantbento.serving.generation.response import Response
from quantbento.serving.generation.sampling import Choice, Refused, choices_of, prompts_of, refuse_unsupported
from quantbento.serving.generation.scoring import nothing, tells_more, told
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.tasks.text_generation import TextGeneration

logger = logging.getLogger("bentoml.serve")


class InProcessEngine(Engine):
    """Ready once the model has generated something."""

    def __init__(self, stored: store.StoredModel, names: list[str], settings: GenerationSettings) -> None:
        super().__init__(stored, names, settings)
        self._thread = ThreadPoolExecutor(1, "quantbento-generate")
        self._loaded: TextGenerator | None = None
        self._metrics = GenerationMetrics(names[0])

    @classmethod
    def check_settings(cls, settings: GenerationSettings, description: dict[str, Any]) -> None:
        given = [*settings.engine_settings_given(), *({"tool_parser"} & settings.model_fields_set)]
        if given:
            raise QuantbentoError(
                f"setting {given[0]!r} is vLLM's, and has no effect on a model that runs on {description['runtime']} "
                "in the service's process; leave it out"
            )

    @property
    def ready(self) -> bool:
        return self._loaded is not None

    @property
    def loaded(self) -> TextGenerator:
        """What the artifact makes; once it is ready."""
        assert self._loaded is not None
        return self._loaded

    @property
    def task(self) -> TextGeneration:
        return self.loaded.task

    @property
    def max_model_len(self) -> int | None:
        return self.loaded.max_model_len

    async def run(self) -> None:
        self._loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        logger.info("Serving %s on %s", self.names[0], self._loaded.runtime.name)

    async def stop(self) -> None:
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    async def complete(
        self, prompt: str, max_tokens: int, temperature: float, adapter: str | None = None
    ) -> tuple[str, int]:
        [item] = self.loaded.check([prompt])
        sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
        choices = [Choice(self.loaded.task.prompt_ids(item), sampling)]
        [done] = await self._generate(self.loaded.with_adapter(adapter), choices)
        return done.text, len(done.token_ids)

    def _load(self) -> TextGenerator:
        loaded = self.stored.load(self.settings.threads, self.settings.wanted_device)
        assert isinstance(loaded, TextGenerator)
        loaded.answers(loaded.task.examples()[:1], Sampling(max_tokens=2))
        return loaded

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        asked = REQUESTS[scope["path"]].model_validate_json(body, context=self.settings)
        response = Response(scope, receive, send)
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, receive, group.cancel_scope)
            await self._respond(asked, response)
            group.cancel_scope.cancel()
        if not response.started:  # BentoML counts a request as under way until something is sent
            await response.error(CLIENT_LEFT, "the client left")

    async def _respond(self, asked: GenerationRequest, response: Response) -> None:
        try:
            refuse_unsupported(asked, self.every_name, self.loaded.runtime.name)
            adapter = asked.model if asked.model in self.adapters else None
            model = self.loaded.with_adapter(adapter)
            prompts = prompts_of(asked, self.loaded.task)
            choices = choices_of(asked, prompts, self.settings.max_tokens, self.max_model_len)
            shape = TextsResponse(adapter or self.names[0], isinstance(asked, ChatRequest))
            prompt_tokens = sum(map(len, prompts))
            if not asked.stream:
                done = await self._generate(model, choices)
                more = await self._told(model, asked, choices, done) if tells_more(asked) else None
                await response.json(shape.whole(done, prompt_tokens, more))
                return
            done = await self._stream(model, choices, shape, response)
            if asked.stream_options is not None and asked.stream_options.include_usage:
                await response.piece(shape.closing(done, prompt_tokens))
            await response.end()
        except Refused as error:
            await response.error(error.status, error.message, error.field)
        except InvalidInput as error:
            await response.error(400, error.message, "messages" if isinstance(asked, ChatRequest) else "prompt")
        except Exception as error:
            logger.exception("a request that had passed its checks failed in the model")
            await response.error(500, str(error) if isinstance(error, QuantbentoError) else "the model failed")

    async def _stream(
        self, model: TextGenerator, choices: list[Choice], shape: TextsResponse, response: Response
    ) -> list[Generated]:
        """Sends the pieces as they come. They wait here, not in the model, for a client that reads slowly."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()

        def tell(index: int, piece: str, finish_reason: str | None) -> None:
            loop.call_soon_threadsafe(events.put_nowait, shape.piece(index, piece, finish_reason))

        generating = asyncio.create_task(self._generate(model, choices, tell))
        generating.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (piece := await events.get()) is not None:
                await response.piece(piece if response.started else shape.opening(len(choices)) + piece)
            return await generating
        finally:
            generating.cancel()

    async def _generate(
        self, model: TextGenerator, choices: Sequence[Choice], tell: Tell = lambda *event: None
    ) -> list[Generated]:
        """What the model makes of the choices, once those of earlier requests are done. Cancelled, it stops at the
        next piece.

        Raises:
            InvalidInput: a prompt the model cannot take.
        """
        stream = model.runtime.stream
        streams = [stream(c.prompt, c.sampling) if c.sampling.max_tokens else nothing() for c in choices]
        left, watched = threading.Event(), Watched(self._metrics, tell)
        try:
            done = await asyncio.wrap_future(self._thread.submit(_run_all, streams, watched.tell, left))
            watched.done(done)
            return done
        finally:
            left.set()

    async def _told(
        self, model: TextGenerator, asked: GenerationRequest, choices: Sequence[Choice], done: Sequence[Generated]
    ) -> list[Told]:
        """What completions tell beside their texts, in the model's thread; raises as `_generate` does."""
        assert isinstance(asked, CompletionRequest)
        left = threading.Event()
        try:
            return await asyncio.wrap_future(self._thread.submit(told, asked, choices, done, model, left))
        finally:
            left.set()


def _run_all(streams: list[Generator[str, None, Generated]], tell: Tell, left: threading.Event) -> list[Generated]:
    """In the model's thread: one stream after the other, until nobody waits for them."""
    done = []
    for index, stream in enumerate(streams):
        with contextlib.closing(stream):
            while not left.is_set():
                try:
                    tell(index, next(stream), None)
                except StopIteration as end:
                    tell(index, "", end.value.finish_reason)
                    done.append(end.value)
                    break
    return done


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancels when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
