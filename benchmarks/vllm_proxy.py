"""The way not taken: a BentoML service that starts vLLM's own server and passes requests on to it."""

from __future__ import annotations

import os
import shlex

import bentoml

from quantbento.serving.generation.settings import GenerationSettings

config = GenerationSettings().service_config()


@bentoml.service(**config, http={"proxy_port": int(os.environ["PROXIED_PORT"])}, endpoints={"readyz": "/health"})
class Proxied:
    def __command__(self) -> list[str]:
        return shlex.split(os.environ["PROXIED_COMMAND"])
