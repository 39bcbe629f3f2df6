"""The model behind a service: found in the store, verified, loaded and warmed up, and guarded in use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from quantbento import store
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.runtimes import artifact
from quantbento.runtimes.predictor import Predictor
from quantbento.serving.answers import Failed
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe
from quantbento.serving.served import Served
from quantbento.serving.settings import ServiceSettings
from quantbento.tasks.base import Task

logger = logging.getLogger("bentoml.serve")


class ServedModel(Served):
    """A stored model that answers in batches. Until `load` it is a name: importing a service needs no model.

    Args:
        settings, default, packed: as every `Served`.
        task: what the service is for; a model for another task is refused.
    """

    settings: ServiceSettings

    def __init__(self, settings: ServiceSettings, default: str, task: str, packed: Packed | None = None) -> None:
        super().__init__(settings, default, packed)
        self._task_name = task
        self.predictor: Predictor | None = None

    def load(self) -> ServedModel:
        """Verifies, loads and runs the model once.

        Raises:
            QuantbentoError: it is missing, damaged, for another task, or does not answer.
        """
        stored = self.stored
        self._check_task(stored, artifact.describe(stored.path)["task"])
        predictor = stored.load(self.settings.threads)
        assert isinstance(predictor, Predictor)
        self._warm_up(predictor)
        self.predictor = predictor
        logger.info("Serving %s on %s", stored.tag, predictor.runtime.name)
        return self

    def preflight(self) -> None:
        """Before any worker starts: a model that cannot be served ends `bentoml serve` with one message.

        Raises:
            CannotServe: it is missing, damaged, or for another task; a setting is another service's, or names another
                model than the Bento's.
        """
        stored = self.verified()
        try:
            self._check_task(stored, artifact.describe(stored.path)["task"])
        except QuantbentoError as error:
            raise CannotServe(str(error)) from None

    def _check_task(self, stored: store.StoredModel, found: str) -> None:
        if found != self._task_name:
            raise QuantbentoError(
                f"{stored.tag} is a model for {found}; this service serves {self._task_name}. "
                "Services: Embedding, TextClassification, TensorModel, TextGeneration, TextGenerationTransformers"
            )

    @property
    def ready(self) -> bool:
        """True once a real inference has succeeded."""
        return self.predictor is not None

    @property
    def takes_texts(self) -> bool:
        return self._task_name != "tensor"

    @cached_property
    def task(self) -> Task | None:
        """The stored model's task, for the API's schema; None as long as the model is not in the store."""
        try:
            return artifact.load_task(store.find(self.tag).path)
        except (StoreError, OSError, ValueError, KeyError):  # the service says what is wrong when it starts
            return None

    def check(self, inputs: list[Any]) -> list[Any]:
        """A request's inputs in the form the model takes.

        Raises:
            InvalidInput: which item and why; a `ValueError`, so pydantic reports it with the field.
        """
        assert self.predictor is not None
        return self.predictor.check(inputs)

    def only_check(self, inputs: list[Any]) -> list[Any]:
        """As `check`, but gives the inputs as they came, for an endpoint that passes them on to another."""
        self.check(inputs)
        return inputs

    def answers(self, checked: Sequence[Any]) -> list[Any]:
        """An answer or a `Failed` for each checked item.

        BentoML fails every request of a batch that raises. Here a batch that raises is halved until the item that
        does it stands alone.
        """
        assert self.predictor is not None
        try:
            return self.predictor.task.answers(self.predictor.run(checked))
        except Exception as error:
            if len(checked) == 1:
                logger.exception("an item that passed its checks failed in the model")
                return [Failed(error)]
            half = len(checked) // 2
            return self.answers(checked[:half]) + self.answers(checked[half:])

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts as the model sees them, special ones included."""
        assert self.predictor is not None
        return sum(self.predictor.task.length(self.predictor.task.encode(text)) for text in texts)

    def _warm_up(self, predictor: Predictor) -> None:
        example = predictor.task.examples()[0]
        try:
            predictor.run([example])
            predictor.run([example] * self.settings.max_batch_size)
        except Exception as error:
            raise QuantbentoError(f"{self.tag} does not answer: {type(error).__name__}: {error}") from error


def items(served: ServedModel, pass_on: bool = False) -> Any:
    """The type of a request's list of inputs, checked before it meets another request's.

    The check stands at the list, not at its items: BentoML applies an item's annotations twice.
    """
    settings = served.settings
    item: Any
    if served.takes_texts:
        item = Annotated[str, Field(min_length=1, max_length=settings.max_characters)]
    else:
        item = Annotated[Any, WithJsonSchema({} if served.task is None else served.task.item_schema())]
    check = AfterValidator(served.only_check if pass_on else served.check)
    return Annotated[list[item], Field(min_length=1, max_length=settings.max_items), check]
