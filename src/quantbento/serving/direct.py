"""Endpoints answered without BentoML's own way from a request to a method, which costs several times what they do:
it looks at the method's signature, builds its response's headers and keeps a context anew for every request.

What an endpoint takes, what it answers and how errors are logged is the same. Endpoints that need more of BentoML, its
batches, its context, tasks or streams, are left to it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from _bentoml_impl.serde import JSONSerde
from bentoml.exceptions import BentoMLException
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from quantbento.serving.answers import rendered
from quantbento.serving.asgi import App, Receive, Scope, Send
from quantbento.serving.errors import ClientLeft
from quantbento.serving.logs import log_mistake
from quantbento.serving.problems import Problem, of_validation, send_problem
from quantbento.serving.request_guard import JSON

if TYPE_CHECKING:
    from quantbento.serving.service import ModelService

logger = logging.getLogger("bentoml.serve")
FAILED = "An unexpected error has occurred, please check the server log."


class DirectEndpoints:
    """ASGI middleware, behind all others of this project."""

    def __init__(self, app: App, service: type[ModelService], apis: Mapping[str, Any]) -> None:
        """`apis` are BentoML's methods, by name."""
        self.app, self.service = app, service
        self.endpoints = {api.route: api for api in apis.values() if _is_plain(api)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            given = await endpoint.input_spec.from_http_request(Request(scope, receive), JSONSerde())
            fields = {name: getattr(given, name) for name in type(given).model_fields}
            body = rendered(await endpoint.func(self.service.instance, **fields))
        except ValidationError as error:
            log_mistake(scope["path"], error)
            await send_problem(scope, send, of_validation(error))
        except BentoMLException as error:
            log_mistake(scope["path"], error)
            await send_problem(scope, send, Problem.of(error))
        except ClientDisconnect:  # in the middle of its body; no mistake of the service's
            await send_problem(scope, send, Problem.of(ClientLeft()))
        except Exception:
            logger.exception("%s failed", scope["path"])
            await send_problem(scope, send, Problem(500, FAILED))
        else:
            headers = [(b"content-length", str(len(body)).encode()), (b"content-type", JSON.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def _is_plain(api: Any) -> bool:
    needs = api.batchable or api.is_task or api.is_stream or api.ctx_param
    return inspect.iscoroutinefunction(api.func) and not needs
