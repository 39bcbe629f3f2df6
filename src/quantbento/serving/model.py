"""The model behind a service that answers in batches: verified, loaded and warmed up, and guarded in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import orjson

from quantbento import store
from quantbento.core.errors import InvalidInput, QuantbentoError, StoreError
from quantbento.runtimes import artifact
from quantbento.runtimes.predictor import Predictor
from quantbento.serving.answers import Answers, as_json, without_failed
from quantbento.serving.batches import Batches, limits_of, run_isolated
from quantbento.serving.batching.batcher import Batcher
from quantbento.serving.batching.metrics import BatchMetrics
from quantbento.serving.inputs import Inputs
from quantbento.serving.numpy_bodies import sent_items
from quantbento.serving.request_state import current_request
from quantbento.serving.served import Served
from quantbento.serving.settings import ServiceSettings
from quantbento.tasks.base import Task

logger = logging.getLogger("bentoml.serve")
LARGEST_EXAMPLE = 10_000  # bytes in JSON: nobody reads an image's numbers


class ServedModel(Served):
    """A stored model that answers in batches, and the types of the endpoint that asks it."""

    settings: ServiceSettings
    _loaded: Predictor | None = None
    _batcher: Batcher | None = None

    @property
    def ready(self) -> bool:
        """True once a real inference has succeeded."""
        return self._loaded is not None

    @property
    def loaded(self) -> Predictor:
        """What the artifact makes; after `load`."""
        assert self._loaded is not None
        return self._loaded

    def load(self) -> Self:
        """Verifies, loads and runs the model.

        Raises:
            QuantbentoError: it is missing, damaged, for another task, or does not answer.
        """
        self.check(artifact.describe(self.stored.path))
        loaded = self.stored.load(self.settings.threads, self.settings.wanted_device)
        assert isinstance(loaded, Predictor)
        self._warm_up(loaded)
        self._loaded = loaded
        logger.info("Serving %s on %s, %s", self.stored.tag, loaded.runtime.name, loaded.runtime.device)
        return self

    def inputs(self, example: list[Any] | None = None) -> Inputs:
        """For the type of a request's list of inputs: `Annotated[list[str], served.inputs()]`, or `list[Any]`.

        Args:
            example: what Swagger shows as a request to try; the task's own examples where it is left out.
        """
        return Inputs(
            max_items=self.settings.max_items,
            max_characters=self.settings.max_characters,
            check=self.check_inputs,
            item_schema=lambda: {} if self.task is None else self.task.item_schema(),
            example=self._example if example is None else lambda: example,
        )

    def outputs(self) -> Answers:
        """For the type of a response: `Annotated[list[Any], served.outputs()]`, one answer per input."""
        return Answers(item_schema=lambda: {} if self.task is None else self.task.answer_schema())

    @cached_property
    def task(self) -> Task | None:
        """The stored model's task, for the endpoints' schemas; None as long as the model is not in the store."""
        if self._loaded is not None:
            return self._loaded.task
        try:
            return artifact.load_task(store.find(self.tag).path)
        except (StoreError, OSError, ValueError, KeyError):  # the service says what is wrong when it starts
            return None

    def check_inputs(self, inputs: list[Any]) -> list[Any]:
        """A request's inputs in the form the model takes.

        Raises:
            InvalidInput: which item and why; a `ValueError`, so pydantic reports it with the field.
        """
        return self.loaded.check(sent_items(inputs))

    async def answers(self, checked: Sequence[Any]) -> list[Any]:
        """An answer or a `Failed` for each checked item, computed together with other requests' items.

        Raises:
            Overloaded: 503, at once, where it would be late.
        """
        assert self._batcher is not None
        if self.settings.batching == "bentoml":  # these are the items of several requests already
            return await asyncio.to_thread(run_isolated, self.loaded.answers, checked)
        if (request := current_request()) is None:
            return await self._batcher.answers(checked)
        return await self._batcher.answers(checked, request.deadline, request.gone)

    async def every_answer(self, checked: Sequence[Any]) -> list[Any]:
        """As `answers`, for an endpoint that makes something else of them.

        Raises:
            ItemFailed: the model failed on one.
        """
        return without_failed(await self.answers(checked))

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts as the model sees them, special ones included."""
        return sum(map(self.loaded.task.length, self.loaded.task.encode_all(texts)))

    def _warm_up(self, loaded: Predictor) -> None:
        model = Batches(loaded)
        limits = limits_of(self.settings, loaded)
        examples = loaded.task.examples()
        batch = (examples * limits.batch_items)[: limits.batch_items]
        self._batcher = Batcher(model, limits, BatchMetrics(self.stored.tag))
        try:
            for items in (examples[:1], batch):
                loaded.answers(items)
                self._batcher.learn(items)
        except Exception as error:
            raise QuantbentoError(f"{self.tag} does not answer: {type(error).__name__}: {error}") from error

    def _example(self) -> list[Any] | None:
        """The task's examples as a client would send them. They are checked items, which some tasks and every
        preprocessing of a user's make of something else: what the model would not take is not shown, nor what is
        very long."""
        if self._loaded is None or "preprocess" in self.loaded.custom_objects:
            return None
        rendered = as_json(self.loaded.task.examples())
        if len(rendered) > LARGEST_EXAMPLE:
            return None
        items = orjson.loads(rendered)
        if self.loaded.task.item_schema().get("type") != "object":  # a lone array goes without its name
            items = [next(iter(item.values())) if isinstance(item, dict) and len(item) == 1 else item for item in items]
        try:
            self.check_inputs(items)
        except InvalidInput:
            return None
        return items[: self.settings.max_items]
