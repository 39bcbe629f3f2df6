"""The versions behind one service, and which of them answers a request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from bentoml.exceptions import InvalidArgument

from quantbento import store
from quantbento.core.errors import one_of
from quantbento.serving.live import LiveModel
from quantbento.serving.request_state import MODEL, RequestState, current_request
from quantbento.serving.settings import ServiceSettings
from quantbento.serving.versions.follow import Follower
from quantbento.serving.versions.routing import Route
from quantbento.serving.versions.shadow import Shadow


class Versions:
    """
    Attributes:
        live: what answers requests that nothing sends elsewhere.
    """

    def __init__(
        self, settings: ServiceSettings, stored: store.StoredModel, load: Callable[[store.StoredModel], LiveModel]
    ) -> None:
        """Loads `stored`, and what the settings name beside it; raises as `load` does."""
        self._settings, self._load = settings, load
        self.live = load(stored)
        self._canary = load(store.find(settings.canary)) if settings.canary else None
        self._route = Route(settings.weight or 0, settings.route_type, settings.route_by)
        shadow = load(store.find(settings.shadow)) if settings.shadow else None
        self._shadow = Shadow(shadow, stored.tag) if shadow else None
        self._following: asyncio.Task[None] | None = None

    def check(self, inputs: list[Any]) -> list[Any]:
        """A request's inputs in the form that the version takes which answers it; raises `InvalidInput`."""
        request = current_request()
        checked = self._of(request).loaded.check(inputs)
        if self._shadow is not None and request is not None:
            request.inputs = inputs
        return checked

    async def answers(self, checked: Sequence[Any]) -> list[Any]:
        """What `LiveModel.answers` gives, of the version that checked them."""
        request = current_request()
        live = self._of(request)
        answers = await live.answers(checked)
        if self._shadow is not None and request is not None and live is self.live:
            self._shadow.compare(request.inputs, answers)
        return answers

    def others(self) -> dict[str, str]:
        """The exact tags of the candidates, by what they are for."""
        found = {"canary": self._canary, "shadow": self._shadow.candidate if self._shadow else None}
        return {name: live.tag for name, live in found.items() if live is not None}

    def start(self, tag: str, switched: Callable[[LiveModel], None]) -> None:
        """Follows the tag, where the settings say so; `switched` is told each version that answers from then on."""
        if self._settings.follow:

            def switch(live: LiveModel) -> None:
                self.live = live
                switched(live)

            follower = Follower(tag, self.live, self._load, switch)
            self._following = asyncio.get_running_loop().create_task(follower.run())

    async def stop(self) -> None:
        """Follows no longer, and waits for what is being compared."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        if self._shadow is not None:
            await self._shadow.finish()

    def _of(self, request: RequestState | None) -> LiveModel:
        """The version of a request: the first that was chosen for it, so that a switch does not come between its parts.
        BentoML's batches have requests of any version, so there is only one."""
        if request is None or self._settings.batching == "bentoml":
            return self.live
        if request.version is None:
            alone = self._canary is None and self._shadow is None
            request.version = self.live if alone else self._named(request) or self._routed(request)
        return request.version

    def _named(self, request: RequestState) -> LiveModel | None:
        """The version whose exact tag the client asks for by `X-Model`, as the playground does.

        Raises:
            InvalidArgument: 400, it is none of those served here.
        """
        wanted = next((value.decode("latin-1") for name, value in request.scope["headers"] if name == MODEL), None)
        if wanted is None:
            return None
        candidates = self._canary, self._shadow.candidate if self._shadow else None
        served = [self.live, *(live for live in candidates if live is not None)]
        if (found := next((live for live in served if live.tag == wanted), None)) is None:
            raise InvalidArgument(f"X-Model: {wanted} is not served; allowed: {one_of(live.tag for live in served)}")
        return found

    def _routed(self, request: RequestState) -> LiveModel:
        if self._canary is not None and self._route.to_canary(request.scope):
            return self._canary
        return self.live
