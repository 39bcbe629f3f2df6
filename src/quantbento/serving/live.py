"""One stored version that answers requests: loaded, warmed up, with the queue before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Self

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.predictor import Predictor
from quantbento.serving import tracing
from quantbento.serving.batches import Batches, limits_of, run_isolated
from quantbento.serving.batching.batcher import Batcher
from quantbento.serving.batching.metrics import BatchMetrics
from quantbento.serving.batching.queue import Ran
from quantbento.serving.cache import ResponseCache
from quantbento.serving.metric import counter
from quantbento.serving.request_state import current_request
from quantbento.serving.settings import ServiceSettings

logger = logging.getLogger("bentoml.serve")


class LiveModel:
    """
    Attributes:
        stored: the version.
        tag: its exact tag.
        loaded: what the artifact makes.
    """

    def __init__(self, stored: store.StoredModel, loaded: Predictor, settings: ServiceSettings) -> None:
        self.stored, self.tag, self.loaded = stored, stored.tag, loaded
        self._traced = settings.traces
        self._bentomls_batches = settings.batching == "bentoml"
        self._requests = counter("model_requests", "Requests by the version that answered", {"model": self.tag})
        kept, most_bytes = settings.cache_items, settings.cache_bytes
        self._cache = ResponseCache(kept, most_bytes, str(stored.digest), self.tag) if kept else None
        limits = limits_of(settings, loaded)
        self._batcher = Batcher(Batches(loaded), limits, BatchMetrics(self.tag))
        self._warm_up(limits.batch_items)

    @classmethod
    def load(cls, stored: store.StoredModel, settings: ServiceSettings) -> Self:
        """Verifies, loads and runs a model.

        Raises:
            QuantbentoError: it is damaged, or does not answer.
        """
        loaded = stored.load(settings.threads, settings.wanted_device)
        assert isinstance(loaded, Predictor)
        live = cls(stored, loaded, settings)
        logger.info("Serving %s on %s, %s", stored.tag, loaded.runtime.name, loaded.runtime.device)
        return live

    async def answers(self, checked: Sequence[Any]) -> list[Any]:
        """An answer or a `Failed` for each checked item, computed together with other requests' items.

        Raises:
            Overloaded: 503, at once, where it would be late.
        """
        self._requests.inc()
        return await (self._computed(checked) if self._cache is None else self._cache.answers(checked, self._computed))

    async def _computed(self, checked: Sequence[Any]) -> list[Any]:
        if self._bentomls_batches:  # these are the items of several requests already
            return await asyncio.to_thread(run_isolated, self.loaded.answers, checked)
        if (request := current_request()) is None:
            return await self._batcher.answers(checked)
        if not self._traced:
            return await self._batcher.answers(checked, request.deadline, request.gone)
        ran = Ran()
        try:
            return await self._batcher.answers(checked, request.deadline, request.gone, ran)
        finally:
            tracing.tell(ran)

    async def apart(self, checked: Sequence[Any], seconds: float) -> list[Any]:
        """As `answers`, of no client's request; raises `Overloaded` where it would take longer than that."""
        return await self._batcher.answers(checked, asyncio.get_running_loop().time() + seconds)

    async def end(self) -> None:
        """Frees the model, once nobody waits for it any more."""
        while self._batcher.busy:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Ends its threads and frees the model; what waits is not computed."""
        self._batcher.close()
        self.loaded.close()

    def _warm_up(self, most: int) -> None:
        examples = self.loaded.task.examples()
        try:
            for items in (examples[:1], (examples * most)[:most]):
                self.loaded.answers(items)
                self._batcher.learn(items)
        except Exception as error:
            raise QuantbentoError(f"{self.tag} does not answer: {type(error).__name__}: {error}") from error
