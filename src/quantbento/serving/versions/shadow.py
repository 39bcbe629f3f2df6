"""A candidate that gets the same requests, whose answers nobody sees: how far they are from those that were served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from quantbento.core.errors import summary
from quantbento.serving.answers import Failed
from quantbento.serving.live import LiveModel
from quantbento.serving.metric import counter, histogram
from quantbento.serving.versions.distance import distance

DISTANCES = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
MOST = 16  # requests at once; more are not compared, so that the candidate never holds up what is served
SECONDS = 30
logger = logging.getLogger("bentoml.serve")


class Shadow:
    """Compares a candidate with a served version, after the client has its answer."""

    def __init__(self, candidate: LiveModel, served: str) -> None:
        """`served` is the tag of the version that answers."""
        self.candidate = candidate
        labels = {"model": served, "candidate": candidate.tag}
        self._distance = histogram("shadow_distance", "Relative distance of the candidate's answers", labels, DISTANCES)
        self._failed = counter("shadow_failed", "Items the candidate failed on, and the served version did not", labels)
        self._skipped = counter("shadow_skipped", "Requests that were not compared, for lack of room", labels)
        self._running: set[asyncio.Task[None]] = set()

    def compare(self, inputs: Sequence[Any], answers: Sequence[Any]) -> None:
        """Asks the candidate, by and by.

        Args:
            inputs: as the client sent them.
            answers: the served version's.
        """
        if len(self._running) >= MOST:
            self._skipped.inc()
            return
        task = asyncio.get_running_loop().create_task(self._compare(inputs, answers))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _compare(self, inputs: Sequence[Any], answers: Sequence[Any]) -> None:
        try:
            checked = await asyncio.to_thread(self.candidate.loaded.check, inputs)
            found = await self.candidate.apart(checked, SECONDS)
        except Exception as error:
            self._failed.inc(len(inputs))
            logger.debug("the shadow of a request failed: %s", summary(error))
            return
        for answer, other in zip(answers, found, strict=True):
            if isinstance(answer, Failed):
                continue
            if isinstance(other, Failed):
                self._failed.inc()
            else:
                self._distance.observe(distance(answer, other))

    async def finish(self) -> None:
        """Waits for what is being compared."""
        await asyncio.gather(*self._running, return_exceptions=True)
