"""A model on the transformers runtime, in the service's own process, behind OpenAI's endpoints.

One text at a time, in a thread of its own; requests wait in a queue. For checkpoints vLLM does not load
(bitsandbytes) and machines without it; vLLM runs requests together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes import text_generator
from quantbento.runtimes.language_model import Generated, Sampling
from quantbento.serving.bento import Packed
from quantbento.serving.errors import Receive, Scope, Send
from quantbento.serving.generation.guard import REQUESTS, openai_error
from quantbento.serving.generation.openai_texts import DONE, TextsResponse
from quantbento.serving.generation.requests import ChatRequest, GenerationRequest
from quantbento.serving.generation.sampling import Choice, Refused, choices_of, prompts_of, refuse_unsupported
from quantbento.serving.generation.server import GenerationServer
from quantbento.serving.generation.settings import TransformersSettings

CLIENT_LEFT = 499
Tell = Callable[[int, str, str | None], None]  # a choice's index, the next piece of its text, why it ended
logger = logging.getLogger("bentoml.serve")


class TransformersServer(GenerationServer):
    """Ready once the model has generated something."""

    runtime = "transformers"
    settings: TransformersSettings

    def __init__(self, settings: TransformersSettings, default: str, packed: Packed | None = None) -> None:
        super().__init__(settings, default, packed)
        self._thread = ThreadPoolExecutor(1, "quantbento-generate")
        self._generator: text_generator.TextGenerator | None = None

    @property
    def ready(self) -> bool:
        return self._generator is not None

    @property
    def max_model_len(self) -> int | None:
        return self._model.max_model_len

    async def generate(self, prompt: str, max_tokens: int, temperature: float) -> dict[str, Any]:
        start = time.perf_counter()
        self.check_ready()
        assert self._generator is not None
        try:
            [item] = self._generator.check([prompt])
        except InvalidInput as error:
            raise InvalidInput(error.message) from None  # there is one prompt, no item 0
        sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
        [done] = await self._generate([Choice(self._generator.task.prompt_ids(item), sampling)])
        seconds = time.perf_counter() - start
        return {"text": done.text, "tokens_generated": len(done.token_ids), "inference_time": seconds}

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._generator = await loop.run_in_executor(self._thread, self._load)
        logger.info("Serving %s on Transformers", self.names()[0])

    async def _stop(self) -> None:
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        if self._generator is not None:
            self._generator.close()
            self._generator = None

    def _load(self) -> text_generator.TextGenerator:
        loaded = self.stored.load(self.settings.threads)
        assert isinstance(loaded, text_generator.TextGenerator)
        task = loaded.task
        loaded.runtime.generate([task.prompt_ids(task.examples()[0])], Sampling(max_tokens=2))
        return loaded

    @property
    def _model(self) -> Any:
        assert self._generator is not None
        return self._generator.runtime

    async def _answer_checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        asked = REQUESTS[scope["path"]].model_validate_json(body, context=self.settings)
        answer = _Answer(scope, receive, send)
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, receive, group.cancel_scope)
            await self._respond(asked, answer)
            group.cancel_scope.cancel()
        if not answer.started:  # BentoML counts a request as under way until something is sent
            await answer.error(CLIENT_LEFT, "the client left")

    async def _respond(self, asked: GenerationRequest, answer: _Answer) -> None:
        assert self._generator is not None
        try:
            refuse_unsupported(asked, self.names())
            prompts = prompts_of(asked, self._generator.task)
            choices = choices_of(asked, prompts, self.settings.max_tokens, self.max_model_len)
            shape = TextsResponse(self.names()[0], isinstance(asked, ChatRequest))
            prompt_tokens = sum(map(len, prompts))
            if not asked.stream:
                await answer.json(shape.whole(await self._generate(choices), prompt_tokens))
                return
            done = await self._stream(choices, shape, answer)
            if asked.stream_options is not None and asked.stream_options.include_usage:
                await answer.piece(shape.closing(done, prompt_tokens))
            await answer.end()
        except Refused as error:
            await answer.error(error.status, error.message, error.field)
        except InvalidInput as error:
            await answer.error(400, error.message, "messages" if isinstance(asked, ChatRequest) else "prompt")
        except Exception as error:
            logger.exception("a request that had passed its checks failed in the model")
            await answer.error(500, str(error) if isinstance(error, QuantbentoError) else "the model failed")

    async def _stream(self, choices: list[Choice], shape: TextsResponse, answer: _Answer) -> list[Generated]:
        """Sends the pieces as they come. They wait here, not in the model, for a client that reads slowly."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()

        def tell(index: int, piece: str, finish_reason: str | None) -> None:
            loop.call_soon_threadsafe(events.put_nowait, shape.piece(index, piece, finish_reason))

        generating = asyncio.create_task(self._generate(choices, tell))
        generating.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (piece := await events.get()) is not None:
                await answer.piece(piece if answer.started else shape.opening(len(choices)) + piece)
            return await generating
        finally:
            generating.cancel()

    async def _generate(self, choices: Sequence[Choice], tell: Tell = lambda *event: None) -> list[Generated]:
        """What the model makes of the choices, once those of earlier requests are done. Cancelled, it stops at the
        next piece.

        Raises:
            InvalidInput: a prompt the model cannot take; at once.
        """
        streams = [self._model.stream(choice.prompt, choice.sampling) for choice in choices]
        left = threading.Event()
        try:
            return await asyncio.wrap_future(self._thread.submit(_run_all, streams, tell, left))
        finally:
            left.set()


class _Answer:
    """A response that may turn out to be an error as long as it has not started."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asgi = scope, receive, send
        self._send, self.started = send, False

    async def json(self, body: dict[str, Any]) -> None:
        self.started = True
        await JSONResponse(body)(*self._asgi)

    async def piece(self, events: bytes) -> None:
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": DONE})

    async def error(self, status: int, message: str, field: str | None = None) -> None:
        response = openai_error(status, message, field)
        if self.started:
            await self.piece(b"data: " + bytes(response.body) + b"\n\n")
            await self.end()
        else:
            self.started = True
            await response(*self._asgi)


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
