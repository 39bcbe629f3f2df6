"""What stands in front of every service's endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from quantbento.serving.info import ModelInfo
from quantbento.serving.logs import without_clients_mistakes
from quantbento.serving.numpy_bodies import MEDIA_TYPES, NumpyBodies, numpy_operation
from quantbento.serving.openai_errors import OpenAIErrors
from quantbento.serving.openapi_additions import OpenAPIAdditions, request_examples
from quantbento.serving.request_guard import RequestGuard

if TYPE_CHECKING:
    from _bentoml_sdk import Service

    from quantbento.serving.service import ModelService

S = TypeVar("S", bound="ModelService")


def with_middleware(
    openai: bool = False, arrays: str | None = None, examples: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[Service[S]], Service[S]]:
    """Class decorator, above `@bentoml.service`: `GET /info`, a limit on the size of bodies, 415 for forms,
    advice for clients that were turned away, and one line in the log for a client's mistake.

    Args:
        openai: whether the service has OpenAI's endpoints, whose errors have a shape of their own.
        arrays: the path of an endpoint whose `inputs` may also come as a NumPy file, and its answers go as one.
        examples: whole requests to try in Swagger, by name, of an endpoint whose fields do not all go together; by its
            path.
    """

    def install(service: Service[S]) -> Service[S]:
        served = service.inner.served
        if openai:
            service.add_asgi_middleware(OpenAIErrors)
        instead: str | None = "JSON as application/json"
        for api in service.apis.values():
            if (additions := getattr(api.input_spec, "openapi_additions", None)) is not None:
                service.add_asgi_middleware(OpenAPIAdditions, additions=additions(api.route))
                instead = None  # it takes uploads
        for route, requests in (examples or {}).items():
            service.add_asgi_middleware(OpenAPIAdditions, additions=request_examples(route, requests))
        service.add_asgi_middleware(ModelInfo, served=served)
        if arrays:
            instead = f"{instead}, or a .npy or .npz file as {MEDIA_TYPES[0]}"
        limit = served.settings.max_body_bytes
        service.add_asgi_middleware(RequestGuard, max_body_bytes=limit, instead_of_forms=instead)
        if arrays:
            service.add_asgi_middleware(OpenAPIAdditions, additions=numpy_operation(arrays))
            service.add_asgi_middleware(NumpyBodies, served=served, route=arrays, field="inputs")
        without_clients_mistakes()
        return service

    return install
