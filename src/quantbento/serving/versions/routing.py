"""Which of two versions answers a request, by the words that BentoCloud has for it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from urllib.parse import parse_qs

from quantbento.serving.asgi import Scope


class Route:
    """Sends `weight` percent of the requests to the canary.

    Args:
        weight: from 0 to 100.
        route_type: `random`: each request for itself. `header` and `query`: by the value of a header or of a parameter
            of the address, so that all requests of a user go to one version; those without it are not sent there.
        route_by: the header's or parameter's name.
        draw: a number from 0 to 1.
    """

    def __init__(
        self, weight: float, route_type: str, route_by: str | None, draw: Callable[[], float] = random.random
    ) -> None:
        self.weight, self.route_type, self.route_by = weight, route_type, route_by or ""
        self._draw = draw

    def to_canary(self, scope: Scope) -> bool:
        """Whether the request with this scope goes to the canary."""
        if self.route_type == "random":
            return 100 * self._draw() < self.weight
        value = self._header(scope) if self.route_type == "header" else self._parameter(scope)
        return value is not None and 100 * _place(value) < self.weight

    def _header(self, scope: Scope) -> bytes | None:
        wanted = self.route_by.lower().encode()
        return next((value for name, value in scope["headers"] if name == wanted), None)

    def _parameter(self, scope: Scope) -> bytes | None:
        values = parse_qs(scope.get("query_string", b"")).get(self.route_by.encode())
        return values[0] if values else None


def _place(value: bytes) -> float:
    """From 0 to 1, always the same for a value, and evenly spread over values."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big") / 2**64
