"""The limits of `requests` in front of an engine's own HTTP application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic import ValidationError

from quantbento.serving.asgi import App, Message, Receive, Scope, Send
from quantbento.serving.errors import BodyTooLarge, ClientLeft
from quantbento.serving.generation.body import problem
from quantbento.serving.generation.requests import ChatRequest, CompletionRequest, GenerationRequest
from quantbento.serving.generation.sampling import no_such_model
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.openai_errors import openai_error
from quantbento.serving.request_guard import body_of

REQUESTS: dict[str, type[GenerationRequest]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
}
BrokenRule = Callable[[GenerationRequest], str | None]
REFUSED = "refused by this service's rule"


class GenerationGuard:
    """ASGI application: passes on what was checked, and nothing else.

    The body is written anew from the checked request, so that no second parser can read it differently (a key given
    twice, a number in quotes).
    """

    def __init__(
        self,
        app: App,
        limits: GenerationSettings,
        broken_rule: BrokenRule | None = None,
        names: Callable[[], list[str] | None] = lambda: None,
    ) -> None:
        """
        Args:
            app: the engine's.
            limits: the service's settings.
            broken_rule: names the rule for prompts that a checked request breaks, and may take a moment.
            names: what requests may call the model; None where the engine is left to say it.
        """
        self.app, self.limits, self.broken_rule, self.names = app, limits, broken_rule, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = REQUESTS[scope["path"]]
        try:
            body = await body_of(scope, receive)
            checked = request.model_validate_json(body, context=self.limits)
        except (BodyTooLarge, ClientLeft) as error:  # raised further, they would be answered with 500
            await openai_error(int(error.error_code), str(error))(scope, receive, send)
            return
        except ValidationError as error:
            message, field = problem(error, request)
            await openai_error(400, message, field)(scope, receive, send)
            return
        if checked.model and (names := self.names()) and checked.model not in names:
            await openai_error(404, no_such_model(checked.model, names), "model")(scope, receive, send)
            return
        if self.broken_rule and (rule := await asyncio.to_thread(self.broken_rule, checked)):
            field = "messages" if request is ChatRequest else "prompt"
            await openai_error(400, f"{field}: {REFUSED} {rule}", field)(scope, receive, send)
            return
        passed_on = checked.model_dump_json(exclude_unset=True).encode()
        headers = [(k, v) for k, v in scope["headers"] if k not in (b"content-length", b"content-type")]
        length = str(len(passed_on)).encode()
        headers += [(b"content-length", length), (b"content-type", b"application/json")]
        unread = True

        async def rewritten() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": passed_on, "more_body": False}
            return await receive()  # the client's leaving, which stops the engine's work for it

        await self.app({**scope, "headers": headers}, rewritten, send)
