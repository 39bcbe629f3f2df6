"""Settings of a service: by `bentoml serve --arg name=value`, or by `QUANTBENTO_NAME=value` in the environment.

Arguments win over the environment. A built Bento keeps the arguments it was built with and takes no others, so
there the environment is the way.
"""

from __future__ import annotations

import os
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from quantbento.core.errors import did_you_mean, one_of
from quantbento.serving.errors import CannotServe

PREFIX = "QUANTBENTO_"
NO_SETTINGS = {"QUANTBENTO_CACHE"}  # variables of the library's own; see quantbento.quantizers.llm.isolated


class Settings(BaseModel):
    """What every service can be told. A subclass adds its own settings; `bentoml.use_arguments(Subclass)` reads and
    checks them."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str | None = Field(None, description="tag in the model store, `name` or `name:version`")

    max_body_bytes: int = Field(8_000_000, ge=1_000, description="of a request")
    timeout_seconds: float = Field(10, gt=0, le=3600, description="a request that takes longer is answered with 504")
    max_concurrency: int = Field(256, ge=1, description="requests under way; more are refused with 429")

    cpu: str = Field("2", description="CPU resource hint")
    memory: str = Field("1Gi", description="memory resource hint")
    gpu: int = Field(0, ge=0, le=64, description="GPU resource hint")
    gpu_type: str | None = Field(None, description="GPU resource hint, for example nvidia-l4")

    access_log: bool = Field(False, description="a log line a request; costs 3 % of a core's requests")
    tracing: bool = Field(False, description="OpenTelemetry spans; cost a quarter of BentoML's work for a request")

    _given: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _from_environment(cls, given: dict[str, Any], checked: ModelWrapValidatorHandler[Self]) -> Self:
        """Names of another kind of service pass here, because one module reads the settings of all its services:
        `refuse_others` is for the service that runs."""
        known = Settings.all_names()
        names = {PREFIX + name.upper(): name for name in known}
        unknown = [v for v in os.environ if v.startswith(PREFIX) and v not in {*names, *NO_SETTINGS}]
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]} in the environment{did_you_mean(unknown[0], names)}")
        if wrong := [name for name in given if name not in known]:
            raise ValueError(
                f"unknown setting {wrong[0]!r}{did_you_mean(wrong[0], cls.model_fields)} "
                f"(allowed: {one_of(cls.model_fields)})"
            )
        everything = {name: os.environ[v] for v, name in names.items() if os.environ.get(v)} | given
        settings = checked({name: value for name, value in everything.items() if name in cls.model_fields})
        settings._given = tuple(everything)
        return settings

    @classmethod
    def all_names(cls) -> set[str]:
        """Of this class and all below it."""
        return set(cls.model_fields).union(*(kind.all_names() for kind in cls.__subclasses__()))

    def refuse_others(self) -> None:
        """Raises `CannotServe` where a setting was given that is another service's: it would have no effect."""
        if others := [name for name in self._given if name not in type(self).model_fields]:
            raise CannotServe(
                f"setting {others[0]!r} is not one of this service's (allowed: {one_of(type(self).model_fields)})"
            )

    @model_validator(mode="after")
    def _gpu_type_with_gpu(self) -> Self:
        if self.gpu_type and not self.gpu:
            raise ValueError(f"gpu_type {self.gpu_type!r} needs gpu=1 or more; it would be dropped in silence")
        return self

    def service_config(self) -> dict[str, Any]:
        """Keyword arguments for `@bentoml.service`."""
        resources: dict[str, Any] = {"cpu": self.cpu, "memory": self.memory}
        if self.gpu:
            resources |= {"gpu": self.gpu} | ({"gpu_type": self.gpu_type} if self.gpu_type else {})
        config: dict[str, Any] = {
            "resources": resources,
            "traffic": {"timeout": self.timeout_seconds, "max_concurrency": self.max_concurrency},
            "logging": {"access": {"enabled": self.access_log}},
            # BentoML closes the session an endpoint calls its sibling through every 100 requests, with calls in
            # flight, which fails them (bentoml/BentoML#5540).
            "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
        }
        if not self.tracing:
            config["tracing"] = {"excluded_urls": [".*"]}
        return config


class ServiceSettings(Settings):
    """Of the services whose requests run in batches: Embedding, TextClassification, TensorModel."""

    max_items: int = Field(64, ge=1, le=10_000, description="inputs a request")
    max_characters: int = Field(8192, ge=1, le=1_000_000, description="of one text; tokens beyond the model's are cut")

    max_batch_size: int = Field(64, ge=2, le=10_000, description="inputs of several requests that run together")
    max_latency_ms: int = Field(10_000, ge=1, description="a request predicted to wait longer is refused with 503")

    threads: int | None = Field(None, ge=1, description="CPU threads of the model; all cores when left out")
    workers: int = Field(1, ge=1, le=256, description="server processes, each with the model in memory")

    def service_config(self, calls_itself: bool = False) -> dict[str, Any]:
        """As every service's. Where an endpoint calls another of the same service, BentoML counts the request twice,
        and would refuse the inner ones of a full house: `calls_itself` leaves room for them."""
        config = super().service_config() | {"workers": self.workers}
        config["traffic"]["max_concurrency"] *= 2 if calls_itself else 1
        return config

    def batching(self) -> dict[str, Any]:
        """Keyword arguments for `@bentoml.api` of an endpoint whose requests run together."""
        return {"batchable": True, "max_batch_size": self.max_batch_size, "max_latency_ms": self.max_latency_ms}
