"""What stands in front of every service's endpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from quantbento.serving import bentoml_timeout, json_logs
from quantbento.serving.api_keys import ApiKeys
from quantbento.serving.concurrency import Concurrency
from quantbento.serving.deadlines import Deadlines
from quantbento.serving.direct import DirectEndpoints
from quantbento.serving.images import FORM
from quantbento.serving.info import ModelInfo
from quantbento.serving.logs import without_clients_mistakes
from quantbento.serving.metrics_page import MetricsPage
from quantbento.serving.numpy_bodies import MEDIA_TYPES, NumpyBodies, numpy_answers_operation, numpy_operation
from quantbento.serving.openapi_additions import OpenAPIAdditions, request_examples
from quantbento.serving.openapi_errors import documented_errors
from quantbento.serving.playground.pages import add_pages, open_paths
from quantbento.serving.problems import Problems
from quantbento.serving.request_guard import JSON, RequestGuard
from quantbento.serving.request_state import RequestStates
from quantbento.serving.slo import Slo
from quantbento.serving.slo_file import read_objectives
from quantbento.serving.strict_json import strict
from quantbento.serving.traffic_metrics import TrafficMetrics

if TYPE_CHECKING:
    from _bentoml_sdk import Service

    from quantbento.serving.service import ModelService

S = TypeVar("S", bound="ModelService")


def with_middleware(
    arrays: str | None = None,
    vectors: str | None = None,
    examples: Mapping[str, Mapping[str, Any]] | None = None,
    without_effect: Mapping[str, Collection[str]] | None = None,
    paths: Sequence[str] = (),
) -> Callable[[Service[S]], Service[S]]:
    """Class decorator, above `@bentoml.service`: `GET /info` and `/metrics`, request ids, API keys, deadlines, limits
    on bodies and on requests at once, errors as problems, and one line in the log for a client's mistake.

    Args:
        arrays: the path of an endpoint whose `inputs` may also come as a NumPy file, and its answers go as one.
        vectors: the path of an endpoint whose answers may also go as a NumPy file.
        examples: whole requests to try in Swagger, by name, of an endpoint whose fields do not all go together; by its
            path.
        without_effect: fields that clients of another API send, by its path; other unknown fields are refused.
        paths: of endpoints that are not BentoML's, for the metrics.
    """

    def install(service: Service[S]) -> Service[S]:
        served = service.inner.served
        settings = served.settings
        bentoml_timeout.install()
        if settings.log_format == "json":
            json_logs.install()
        known = [*paths, *(api.route for api in service.apis.values())]
        service.add_asgi_middleware(TrafficMetrics, paths=known, served=served)
        service.add_asgi_middleware(RequestStates)
        service.add_asgi_middleware(Problems)
        if settings.api_keys_file:
            paths_without_key = (*settings.paths_without_key, *open_paths(settings))
            service.add_asgi_middleware(ApiKeys, path=settings.api_keys_file, open_paths=paths_without_key)
        service.add_asgi_middleware(MetricsPage)
        if settings.slo_file:
            objectives, workers = read_objectives(settings.slo_file), getattr(settings, "workers", 1)
            service.add_asgi_middleware(Slo, objectives=objectives, paths=known, workers=workers)
        service.add_asgi_middleware(Deadlines, seconds=settings.timeout_seconds)
        service.add_asgi_middleware(Concurrency, limit=settings.concurrency)
        takes, instead = [JSON], f"JSON as {JSON}"
        additions = []  # to the OpenAPI document, each to what those before it made of it
        if vectors:
            additions.append(numpy_answers_operation(vectors))
        if arrays:
            additions.append(numpy_operation(arrays))
            takes, instead = [JSON, *MEDIA_TYPES], f"{instead}, or a .npy or .npz file as {MEDIA_TYPES[0]}"
        additions += [request_examples(route, requests) for route, requests in (examples or {}).items()]
        routes = [api.route for api in service.apis.values()]
        additions.append(documented_errors(routes, arrays, bool(settings.api_keys_file)))
        if more := served.openapi_additions():
            additions.append(more)
        for api in service.apis.values():
            if (of_api := getattr(api.input_spec, "openapi_additions", None)) is not None:
                additions.append(of_api(api.route))
                takes, instead = [JSON, FORM], f"JSON as {JSON}, or files as {FORM}"
            else:
                api.input_spec = strict(api.input_spec, (without_effect or {}).get(api.route, ()))
        service.add_asgi_middleware(OpenAPIAdditions, additions=additions)
        service.add_asgi_middleware(ModelInfo, served=served)
        limit = settings.max_body_bytes
        service.add_asgi_middleware(RequestGuard, max_body_bytes=limit, takes=takes, instead=instead)
        for route, field in ((arrays, "inputs"), (vectors, "")):
            if route:
                service.add_asgi_middleware(NumpyBodies, served=served, route=route, field=field)
        service.add_asgi_middleware(DirectEndpoints, service=service.inner, apis=service.apis)
        add_pages(service, settings)
        without_clients_mistakes()
        return service

    return install
