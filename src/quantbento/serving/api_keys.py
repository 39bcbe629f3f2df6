"""Requests only with a key of a file: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.

The file is read anew when it changes, without a restart. One that cannot be used leaves the keys as they were.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from quantbento.serving import key_file
from quantbento.serving.asgi import PROBES, App, Receive, Scope, Send
from quantbento.serving.key_file import KeyFileError, digest_of
from quantbento.serving.problems import respond
from quantbento.serving.request_state import current_request

logger = logging.getLogger("bentoml.serve")
HEADERS = (b"authorization", b"x-api-key")
CHALLENGE = (b"www-authenticate", b"Bearer")
SECONDS = 1.0  # at least so long from one look at the file to the next
POLICY_VIOLATION = 1008  # RFC 6455
MISSING = "an API key is needed: send the header Authorization: Bearer KEY, or X-API-Key: KEY"
UNKNOWN = "this API key is not valid"


class ApiKeys:
    """ASGI middleware: answers 401 without a valid key, and 1008 to a websocket.

    What is behind it does not see the key: the headers that may hold one are taken out of the request.
    """

    def __init__(self, app: App, path: Path, open_paths: tuple[str, ...] = ()) -> None:
        """`open_paths` need no key; one that ends in `/` stands for all below it.

        Raises:
            KeyFileError: the file is missing or wrong.
        """
        self.app, self.keys = app, WatchedKeys(path)
        # Kubelets, which ask the probes, have no keys.
        self.open = PROBES | {path for path in open_paths if path == "/" or not path.endswith("/")}
        self.open_folders = tuple(path for path in open_paths if path not in self.open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        sent = list(_sent_keys(scope))
        name = self.keys.name_of(sent)
        if name is None and not self._is_open(scope["path"]):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            else:
                await respond(scope, send, 401, UNKNOWN if sent else MISSING, [CHALLENGE])
            return
        if (state := current_request()) is not None:
            state.key_name = name
        kept = [header for header in scope["headers"] if header[0] not in HEADERS]
        await self.app({**scope, "headers": kept}, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self.open or path.startswith(self.open_folders)


class WatchedKeys:
    """The keys of a file, as it is now."""

    def __init__(self, path: Path) -> None:
        """Raises `KeyFileError` where the file is missing or wrong."""
        self._path, self._looked = path, time.monotonic()
        self._state = _state(path)
        self._digests = key_file.read(path)

    def name_of(self, sent: list[bytes]) -> str | None:
        """The name of the first valid key that was sent; None where there is none.

        Every hash is compared, each in constant time, so that the time says nothing about which one is near.
        """
        self._look()
        found = None
        for key in sent:
            given = digest_of(key)
            for name, digest in self._digests.items():
                if hmac.compare_digest(given, digest) and found is None:
                    found = name
        return found

    def _look(self) -> None:
        """Reads the file again where it changed since the last look."""
        if (now := time.monotonic()) - self._looked < SECONDS:
            return
        self._looked = now
        # The state before the file is read: what changes meanwhile is seen at the next look.
        if (state := _state(self._path)) == self._state:
            return
        self._state = state
        try:
            self._digests = key_file.read(self._path)
        except KeyFileError as error:
            logger.error("The API keys stay as they were: %s", " ".join(str(error).split()))
        else:
            logger.info("%s has %d API keys now", self._path, len(self._digests))


def _state(path: Path) -> tuple[int, ...] | None:
    """What is different after a change: also of the mode, and of what a link points to."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sent_keys(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                yield key.strip()
