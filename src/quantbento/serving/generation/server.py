"""What the services that generate text share: a stored model by tag, checked before it is served; OpenAI's paths."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes import artifact
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe, EngineUnavailable, Receive, Scope, Send
from quantbento.serving.generation.guard import REQUESTS, GenerationGuard, openai_error
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.served import Served

TASK = "text-generation"
SERVICES = "Embedding, TextClassification, TensorModel, TextGeneration, TextGenerationTransformers"
logger = logging.getLogger("bentoml.serve")


class GenerationServer(Served, ABC):
    """A stored language model by tag. Until the service starts it is a name.

    A model that cannot start ends the process, which BentoML starts again; inside a container BentoML ends too.

    Attributes:
        app: the endpoints under /v1, to mount; its lifespan is the model's.
    """

    runtime: ClassVar[str]
    settings: GenerationSettings

    def __init__(self, settings: GenerationSettings, default: str, packed: Packed | None = None) -> None:
        super().__init__(settings, default, packed)
        guarded = GenerationGuard(self._answer, settings)
        routes = [Route("/v1/models", self._models), *(Route(path, guarded, methods=["POST"]) for path in REQUESTS)]
        self.app = Starlette(routes=routes, lifespan=self._lifespan)

    def preflight(self) -> None:
        """Before any worker starts: what cannot be served ends `bentoml serve` with one message.

        Raises:
            CannotServe: the model is missing, damaged, or for another task or runtime; its runtime is not installed;
                a setting is another service's.
        """
        stored = self.verified()
        found = artifact.describe(stored.path)
        if (found["task"], found["runtime"]) != (TASK, self.runtime):
            raise CannotServe(
                f"{stored.tag} is a model for {found['task']} on {found['runtime']}; this service serves {TASK} on "
                f"{self.runtime}. Services: {SERVICES}"
            )
        if importlib.util.find_spec(self.runtime) is None:
            raise CannotServe(
                f"the {self.runtime} runtime needs the package {self.runtime!r}, which is not installed; "
                f"run: pip install 'quantbento[{self.runtime}]'"
            )

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the model can answer now."""

    @property
    @abstractmethod
    def max_model_len(self) -> int | None:
        """Tokens of a prompt and its continuation; None where there is no limit."""

    @abstractmethod
    async def generate(self, prompt: str, max_tokens: int, temperature: float) -> dict[str, Any]:
        """The answer of `POST /generate`: what the loaded artifact says to the same prompt, chat template and all.
        `inference_time` is in seconds.

        Raises:
            EngineUnavailable: 503, it is starting.
            InvalidInput: the prompt is blank, or longer than the model takes.
        """

    @abstractmethod
    async def _answer_checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that is within its limits."""

    @abstractmethod
    async def _run(self) -> None:
        """Starts the model, and keeps it running; raises where it cannot start."""

    @abstractmethod
    async def _stop(self) -> None:
        """Ends the model after `_run` was cancelled, wherever it was."""

    def names(self) -> list[str]:
        """What requests may call the model: its full tag, which is what responses call it, or without the version."""
        return [self.stored.tag, self.stored.tag.partition(":")[0]]

    def check_ready(self) -> None:
        """Raises `EngineUnavailable` until the model can answer."""
        if not self.ready:
            raise EngineUnavailable("the engine is starting; try again in some seconds")

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
            await self._stop()

    async def _run_or_end(self) -> None:
        try:
            await self._run()
        except Exception as error:
            said = str(error) if isinstance(error, QuantbentoError) else summary(error)
            logger.error("%s cannot be served: %s", self.tag, said)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.check_ready()
        except EngineUnavailable as error:
            await openai_error(503, str(error))(scope, receive, send)
            return
        await self._answer_checked(scope, receive, send)

    async def _models(self, request: Request) -> Response:
        try:
            self.check_ready()
        except EngineUnavailable as error:
            return openai_error(503, str(error))
        card = {"object": "model", "created": 0, "owned_by": "quantbento", "max_model_len": self.max_model_len}
        return JSONResponse({"object": "list", "data": [{"id": name, **card} for name in self.names()]})
