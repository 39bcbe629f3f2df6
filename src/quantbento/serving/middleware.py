"""What stands in front of every service's endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from quantbento.serving.info import ModelInfo
from quantbento.serving.logs import without_clients_mistakes
from quantbento.serving.openai_errors import OpenAIErrors
from quantbento.serving.request_guard import RequestGuard

if TYPE_CHECKING:
    from _bentoml_sdk import Service

    from quantbento.serving.service import ModelService

S = TypeVar("S", bound="ModelService")


def with_middleware(openai: bool = False) -> Callable[[Service[S]], Service[S]]:
    """Class decorator, above `@bentoml.service`: `GET /info`, a limit on the size of bodies, advice for clients that
    were turned away, and one line in the log for a client's mistake.

    Args:
        openai: whether the service has OpenAI's endpoints, whose errors have a shape of their own.
    """

    def install(service: Service[S]) -> Service[S]:
        served = service.inner.served
        if openai:
            service.add_asgi_middleware(OpenAIErrors)
        service.add_asgi_middleware(ModelInfo, served=served)
        service.add_asgi_middleware(RequestGuard, max_body_bytes=served.settings.max_body_bytes)
        without_clients_mistakes()
        return service

    return install
