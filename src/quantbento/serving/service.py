"""The base of every BentoML service here, and of one for a task of your own."""

from __future__ import annotations

import gc
import sys
from typing import ClassVar

import bentoml
from bentoml.models import BentoModel

from quantbento.core.errors import StoreError
from quantbento.serving.bento import model_to_pack
from quantbento.serving.model import ServedModel
from quantbento.serving.served import SERVICES, Served


class ModelService:
    """A service of one stored model, which is checked before any worker starts and packed into the Bento.

    Attributes:
        served: the model; a subclass names it.
        instance: the one that serves in this process.
    """

    served: ClassVar[Served]
    bento_model: ClassVar[BentoModel]
    instance: ClassVar[ModelService]
    preflight: ClassVar[staticmethod[[], None]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "served" in vars(cls):
            served = cls.served
            cls.bento_model = _to_pack(served)
            cls.preflight = bentoml.on_deployment(lambda: served.preflight())
            SERVICES[served.task_name] = f"{cls.__module__}:{cls.__name__}"

    def __init__(self) -> None:
        type(self).instance = self

    def __is_ready__(self) -> bool:
        return self.served.ready


class BatchService(ModelService):
    """A service whose requests run together in batches. For a task of your own, in `my_service.py`:

        import bentoml
        from typing import Annotated, Any
        from quantbento.serving.middleware import with_middleware
        from quantbento.serving.model import ServedModel
        from quantbento.serving.service import BatchService
        from quantbento.serving.settings import ServiceSettings

        settings = ServiceSettings.read()
        ranker = ServedModel(settings, task="my_tasks:Ranking")
        Pairs = Annotated[list[Any], ranker.inputs()]
        Scores = Annotated[list[Any], ranker.outputs()]


        @with_middleware()
        @bentoml.service(**settings.service_config())
        class Ranker(BatchService):
            served = ranker

            @bentoml.api(**settings.batched())
            async def rank(self, pairs: Pairs) -> Scores:
                return await ranker.answers(pairs)

    and `bentoml serve my_service:Ranker`. The types have names in the module, where BentoML looks for them. A wrong
    input, or one that the model fails on, fails its own request alone.
    """

    served: ClassVar[ServedModel]

    def __init__(self) -> None:
        super().__init__()
        self.served.load()
        # What was loaded stays. Searching it for garbage again and again takes up to 80 ms each time.
        gc.collect()
        gc.freeze()
        # The model's threads need the interpreter only for moments. By default they wait 5 ms for each.
        sys.setswitchinterval(0.0005)

    @bentoml.on_startup
    async def start(self) -> None:
        """Called by BentoML, once the server's event loop runs."""
        self.served.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Called by BentoML before the server ends."""
        await self.served.stop()


def _to_pack(served: Served) -> BentoModel:
    try:
        return model_to_pack(served.tag, served.settings.problem)
    except StoreError as error:  # none is named, and there is not one to choose
        return model_to_pack("", served.settings.problem or str(error))
