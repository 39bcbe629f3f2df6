"""An alias that is followed: the version it stands for now is loaded beside the one that answers, and takes its place
between two requests. The one before stays loaded, so that a rollback needs no time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from quantbento import store
from quantbento.core.errors import QuantbentoError, summary
from quantbento.serving.live import LiveModel
from quantbento.serving.metric import counter

SECONDS = 1.0  # between two looks at the alias
logger = logging.getLogger("bentoml.serve")


class Follower:
    """
    Args:
        alias: `name:alias`, or a name, whose newest version is followed.
        live: the version that answers now.
        load: loads another, or raises `QuantbentoError`.
        switch: lets another version answer, from the next request on.
    """

    def __init__(
        self,
        alias: str,
        live: LiveModel,
        load: Callable[[store.StoredModel], LiveModel],
        switch: Callable[[LiveModel], None],
    ) -> None:
        self.alias, self.live = alias, live
        self.before: LiveModel | None = None  # the one that answered last
        self._load, self._switch = load, switch
        self._refused: str | None = None  # a tag that cannot be served
        told = "Versions that an alias moved to and that could not be served"
        self._failed = counter("follow_failed", told, {"alias": alias})

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            await self.look()

    async def look(self) -> None:
        """Follows the alias, if it has moved."""
        try:
            stored = await asyncio.to_thread(store.find, self.alias)
        except QuantbentoError as error:  # retired, or deleted: what answers goes on
            self._refuse(self.alias, error)
            return
        if stored.tag in (self.live.tag, self._refused):
            return
        if self.before is not None and self.before.tag == stored.tag:
            self._take(self.before)
            return
        try:
            live = await asyncio.to_thread(self._load, stored)
        except Exception as error:
            self._refuse(stored.tag, error)
            return
        old = self.before
        self._take(live)
        if old is not None:
            await old.end()

    def _take(self, live: LiveModel) -> None:
        self.before, self.live, self._refused = self.live, live, None
        self._switch(live)
        logger.info("%s stands for %s now, which answers from here on", self.alias, live.tag)

    def _refuse(self, tag: str, error: Exception) -> None:
        if self._refused != tag:
            self._refused = tag
            self._failed.inc()
            logger.error("%s answers on; %s cannot be served: %s", self.live.tag, tag, _said(error))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, QuantbentoError) else summary(error)
