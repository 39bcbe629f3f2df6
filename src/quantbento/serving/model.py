"""The model behind a service that answers in batches: verified, loaded and warmed up, and guarded in use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import orjson

from quantbento import store
from quantbento.core.errors import InvalidInput, QuantbentoError, StoreError
from quantbento.runtimes import artifact
from quantbento.runtimes.predictor import Predictor
from quantbento.serving.answers import Answers, as_json, without_failed
from quantbento.serving.errors import CannotServe
from quantbento.serving.inputs import Inputs
from quantbento.serving.live import LiveModel
from quantbento.serving.numpy_bodies import sent_items
from quantbento.serving.served import Served
from quantbento.serving.settings import ServiceSettings
from quantbento.serving.versions.versions import Versions
from quantbento.store.judged import require_judged
from quantbento.tasks.base import Task

LARGEST_EXAMPLE = 10_000  # bytes in JSON: nobody reads an image's numbers


class ServedModel(Served):
    """A stored model that answers in batches, and the types of the endpoint that asks it."""

    settings: ServiceSettings
    _versions: Versions | None = None

    @property
    def ready(self) -> bool:
        """True once a real inference has succeeded."""
        return self._versions is not None

    @property
    def versions(self) -> Versions:
        """What answers; after `load`."""
        assert self._versions is not None
        return self._versions

    @property
    def loaded(self) -> Predictor:
        """What the artifact makes; after `load`."""
        return self.versions.live.loaded

    def load(self) -> Self:
        """Verifies, loads and runs the model, and the candidates beside it.

        Raises:
            QuantbentoError: it is missing, damaged, for another task, or does not answer.
        """
        self._versions = Versions(self.settings, self.stored, self.load_version)
        return self

    def load_version(self, stored: store.StoredModel) -> LiveModel:
        """A stored version, ready to answer; raises as `load` does."""
        self.check_signature(stored)
        require_judged(stored)
        self.check(artifact.describe(stored.path), stored.tag)
        return LiveModel.load(stored, self.settings)

    def preflight(self) -> None:
        super().preflight()
        if self.packed and (given := self.settings.other_versions()):
            raise CannotServe(f"{self.packed.bento} packs one version, so {', '.join(given)} cannot be had in it")
        for tag in filter(None, (self.settings.canary, self.settings.shadow)):
            try:
                self.check_version(store.find(tag))
            except QuantbentoError as error:
                raise CannotServe(str(error)) from None

    def start(self) -> None:
        """Once the event loop runs: follows the alias, where the settings say so."""

        def switched(live: LiveModel) -> None:
            self.stored = live.stored  # what `GET /info` tells of

        self.versions.start(self.tag, switched)

    async def stop(self) -> None:
        """Before the event loop ends."""
        await self.versions.stop()

    def info(self) -> dict[str, Any]:
        return super().info() | (self.versions.others() if self.ready else {})

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
        if self.ready:
            return self.loaded.task
        try:
            return artifact.load_task(store.find(self.tag).path)
        except (StoreError, OSError, ValueError, KeyError):  # the service says what is wrong when it starts
            return None

    def check_inputs(self, inputs: list[Any]) -> list[Any]:
        """A request's inputs in the form the model takes.

        Raises:
            InvalidInput: which item and why; a `ValueError`, so pydantic reports it with the field.
        """
        return self.versions.check(sent_items(inputs))

    async def answers(self, checked: Sequence[Any]) -> list[Any]:
        """An answer or a `Failed` for each checked item, computed together with other requests' items.

        Raises:
            Overloaded: 503, at once, where it would be late.
        """
        return await self.versions.answers(checked)

    async def every_answer(self, checked: Sequence[Any]) -> list[Any]:
        """As `answers`, for an endpoint that makes something else of them.

        Raises:
            ItemFailed: the model failed on one.
        """
        return without_failed(await self.answers(checked))

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts as the model sees them, special ones included."""
        task = self.loaded.task
        return sum(map(task.length, task.encode_all(texts)))

    def _example(self) -> list[Any] | None:
        """The task's examples as a client would send them. They are checked items, which some tasks and every
        preprocessing of a user's make of something else: what the model would not take is not shown, nor what is
        very long."""
        if not self.ready or "preprocess" in self.loaded.custom_objects:
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
