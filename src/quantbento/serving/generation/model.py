"""The language model behind a service: its engine is the one that the stored artifact says, and it runs as long as
the web server does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

from bentoml.exceptions import InvalidArgument, NotFound
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quantbento.core.errors import InvalidInput, QuantbentoError, summary
from quantbento.runtimes import artifact
from quantbento.serving.asgi import Receive, Scope, Send
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe, EngineUnavailable
from quantbento.serving.generation.engine import Engine
from quantbento.serving.generation.guard import REFUSED, REQUESTS, GenerationGuard
from quantbento.serving.generation.in_process import InProcessEngine
from quantbento.serving.generation.openapi import language_model_operations
from quantbento.serving.generation.requests import GenerationRequest
from quantbento.serving.generation.sampling import no_such_model
from quantbento.serving.generation.screen import Screen
from quantbento.serving.generation.screened_texts import texts_of
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.generation.tokenizing import REQUESTS as TOKENIZING
from quantbento.serving.generation.tokenizing import TokenizingEndpoint
from quantbento.serving.generation.vllm import VLLMEngine
from quantbento.serving.openai_errors import openai_error
from quantbento.serving.served import Served

logger = logging.getLogger("bentoml.serve")
MODELS = "/v1/models"
PATHS = (MODELS, *REQUESTS, *TOKENIZING)  # of the application to mount


class ServedLanguageModel(Served):
    """A stored language model.

    A model that cannot start ends the process, which BentoML starts again; inside a container BentoML ends too.

    Attributes:
        app: the endpoints under /v1 and those of the tokenizer, to mount; its lifespan is the model's.
    """

    settings: GenerationSettings

    def __init__(self, settings: GenerationSettings, default: str | None = None, packed: Packed | None = None) -> None:
        super().__init__(settings, "text-generation", default, packed)
        rule = self._broken_rule if settings.screen_file else None
        guarded = GenerationGuard(self._answer, settings, rule, self._every_name)
        routes = [Route(MODELS, self._models), *(Route(path, guarded, methods=["POST"]) for path in REQUESTS)]
        for path, request in TOKENIZING.items():
            endpoint = TokenizingEndpoint(path, self.ready_engine, settings, self._broken_rule_of)
            routes.append(Route(path, endpoint, methods=["POST"] if request else ["GET"]))
        self.app = Starlette(routes=routes, lifespan=self._lifespan)
        self._engine: Engine | None = None

    def check(self, description: dict[str, Any], tag: str | None = None) -> None:
        super().check(description, tag)
        _engine_of(description).check_settings(self.settings, description)

    @property
    def ready(self) -> bool:
        return self._engine is not None and self._engine.ready

    def ready_engine(self) -> Engine:
        """The engine, which can answer now.

        Raises:
            EngineUnavailable: 503, it is starting.
        """
        if self._engine is None or not self._engine.ready:
            raise EngineUnavailable("the engine is starting; try again in some seconds")
        return self._engine

    async def generate(
        self, prompt: str, max_tokens: int, temperature: float, model: str | None = None
    ) -> dict[str, Any]:
        """The answer of `POST /generate`; `inference_time` is in seconds.

        Raises:
            EngineUnavailable: 503, it is starting.
            NotFound: 404, there is no such model or adapter.
            InvalidArgument: 400, the prompt is blank, longer than the model takes, or breaks a rule of `screen_file`.
        """
        start = time.perf_counter()
        if model and (names := self._every_name()) and model not in names:
            raise NotFound(f"model: {no_such_model(model, names)}")
        if self._screen and (rule := await asyncio.to_thread(self._screen.broken_rule, [prompt])):
            raise InvalidArgument(f"prompt: {REFUSED} {rule}")
        try:
            engine = self.ready_engine()
            adapter = model if model in engine.adapters else None
            text, tokens = await engine.complete(prompt, max_tokens, temperature, adapter)
        except InvalidInput as error:
            raise InvalidArgument(error.message) from None
        except Exception:
            self.ready_engine()  # that it died says more than how the request noticed
            raise
        return {"text": text, "tokens_generated": tokens, "inference_time": time.perf_counter() - start}

    def openapi_additions(self) -> dict[str, Any]:
        return language_model_operations(bool(self.settings.api_keys_file))

    def names(self) -> list[str]:
        """What requests may call the model: its full tag, which is what responses call it, or without the version."""
        return [self.stored.tag, self.stored.tag.partition(":")[0]]

    @cached_property
    def _screen(self) -> Screen | None:
        path = self.settings.screen_file
        return None if path is None else Screen.read(path)

    def _every_name(self) -> list[str] | None:
        """What `model` may be in a request; None while it is starting, which `_answer` says."""
        return self.ready_engine().every_name if self.ready else None

    def _broken_rule_of(self, text: str) -> str | None:
        return None if self._screen is None else self._screen.broken_rule([text])

    def _broken_rule(self, asked: GenerationRequest) -> str | None:
        if self._screen is None or not self.ready:  # `_answer` says that it is not
            return None
        return self._screen.broken_rule(texts_of(asked, self.ready_engine().task.tokenizer.decode))

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Runs the model beside the web server, which answers probes while it starts."""
        running = asyncio.create_task(self._run_or_end())
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            if self._engine is not None:
                await self._engine.stop()

    async def _run_or_end(self) -> None:
        try:
            await asyncio.to_thread(self.check_signature, self.stored)
            _ = self._screen  # whose file was right when the service was started
            kind = _engine_of(artifact.describe(self.stored.path))
            self._engine = kind(self.stored, self.names(), self.settings)
            await self._engine.run()
        except Exception as error:
            said = str(error) if isinstance(error, QuantbentoError | CannotServe) else summary(error)
            logger.error("%s cannot be served: %s", self.tag, said)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            engine = self.ready_engine()
        except EngineUnavailable as error:
            await openai_error(503, str(error))(scope, receive, send)
            return
        await engine.answer(scope, receive, send)

    async def _models(self, request: Request) -> Response:
        try:
            engine = self.ready_engine()
        except EngineUnavailable as error:
            return openai_error(503, str(error))
        card = {"object": "model", "created": 0, "owned_by": "quantbento", "max_model_len": engine.max_model_len}
        models = [{"id": name, **card} for name in self.names()]
        models += [{"id": name, **card, "parent": self.names()[0]} for name in engine.adapters]
        return JSONResponse({"object": "list", "data": models})


def _engine_of(description: dict[str, Any]) -> type[Engine]:
    """vLLM serves by an engine that runs requests together; every other runtime in this process, by its contract."""
    return VLLMEngine if description["runtime"] == "vllm" else InProcessEngine
