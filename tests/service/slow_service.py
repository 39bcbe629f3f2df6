"""A service whose model takes 100 ms per batch and fails on 13, for tests of what happens under load."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import bentoml

from quantbento.runtimes.predictor import Predictor
from quantbento.serving.middleware import with_middleware
from quantbento.serving.model import ServedModel
from quantbento.serving.service import BatchService
from quantbento.serving.settings import ServiceSettings

SECONDS = float(os.environ.get("SLOW_SECONDS", "0.1"))
POISON = 13.0


run = Predictor.run


def slow(self: Predictor, checked: Any, here: bool = False) -> Any:
    print(f"computed {len(checked)}", flush=True)
    time.sleep(SECONDS)
    if any((item == POISON / 2).any() for values in checked for item in values.values()):
        raise RuntimeError("poisoned")
    return run(self, checked, here)


Predictor.run = slow  # type: ignore[method-assign]


settings = ServiceSettings.read()
slow_model = ServedModel(settings, "tensor")
Inputs = Annotated[list[Any], slow_model.inputs()]
Outputs = Annotated[list[Any], slow_model.outputs()]


@with_middleware()
@bentoml.service(**settings.service_config())
class Slow(BatchService):
    served = slow_model

    @bentoml.api(**settings.batched())
    async def predict(self, inputs: Inputs) -> Outputs:
        return await slow_model.answers(inputs)
