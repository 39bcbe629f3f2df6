"""Settings of a service: by `bentoml serve --arg name=value`, or by `QUANTBENTO_NAME=value` in the environment.

Arguments win over the environment; a variable that is empty counts as not set. A built Bento keeps the arguments it
was built with and takes no others, so there the environment is the way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import bentoml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from quantbento.core.devices import AUTO, Device
from quantbento.core.errors import did_you_mean, one_of
from quantbento.serving import key_file, tracing
from quantbento.serving.slo_file import SloError, read_objectives

PREFIX = "QUANTBENTO_"
NO_SETTINGS = {"QUANTBENTO_CACHE", "QUANTBENTO_CACHE_GB"}  # where runs keep what takes long, and how much


class Settings(BaseModel):
    """What every service can be told. A subclass adds its own settings; `Subclass.read()` is for services,
    `Subclass(...)` raises where something is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str | None = Field(None, description="tag in the model store, `name` or `name:version`")

    max_body_bytes: int = Field(8_000_000, ge=1_000, description="of a request")
    timeout_seconds: float = Field(10, gt=0, le=3600, description="a request that takes longer is answered with 504")
    max_concurrency: int = Field(256, ge=1, description="requests under way; more are refused with 429")

    api_keys_file: Path | None = Field(None, description="requests need a key of this file; see `quantbento keys`")
    open_paths: str = Field("/metrics", description="paths without an API key, with commas between; /a/ is all below")

    trusted_keys: str = Field("", description="paths of public keys, with commas between, that models are signed with")
    signatures: Literal["off", "warn", "require"] | None = Field(
        None, description="of models without a trusted signature; require, where trusted_keys are given"
    )

    cpu: str = Field("2", description="CPU resource hint")
    memory: str = Field("1Gi", description="memory resource hint")
    gpu: int = Field(0, ge=0, le=64, description="GPU resource hint")
    gpu_type: str | None = Field(None, description="GPU resource hint, for example nvidia-l4")

    access_log: bool = Field(False, description="a log line for each request; costs 3 % of a core's requests")
    log_format: Literal["text", "json"] = Field("text", description="of the log's lines")
    playground: bool = Field(True, description="a page at / to try the model in; Swagger is at /docs with or without")
    slo_file: Path | None = Field(None, description="service level objectives, for GET /slo; see deploy/slo.yaml")
    tracing: bool = Field(False, description="OpenTelemetry spans; cost a quarter of BentoML's work for a request")

    _problem: str | None = PrivateAttr(None)

    @classmethod
    def read(cls) -> Self:
        """The settings that `--arg` and the environment give."""
        return cls.of(vars(bentoml.use_arguments()))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The settings that are given by name, and those of the environment.

        One module may hold services with other settings, and importing it must not fail for the one that runs.
        So what is wrong becomes `problem`, for which nothing is built or served, and the settings are the defaults.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            settings = cls.model_construct()
            settings._problem = "\n".join(map(_said, error.errors(include_url=False)))
            return settings  # type: ignore[return-value]  # the plugin of pydantic does not know Self here

    @classmethod
    def names_of_files(cls) -> set[str]:
        """The settings that name a file."""
        return {
            name for name, field in cls.model_fields.items() if Path in (field.annotation, *get_args(field.annotation))
        }

    @property
    def problem(self) -> str | None:
        """Why these settings cannot be used."""
        return self._problem

    @model_validator(mode="wrap")
    @classmethod
    def _with_environment(cls, given: dict[str, Any], checked: ModelWrapValidatorHandler[Self]) -> Self:
        environment = {
            name.removeprefix(PREFIX).lower(): text
            for name, text in os.environ.items()
            if name.startswith(PREFIX) and name not in NO_SETTINGS and text
        }
        if unknown := [name for name in environment | given if name not in cls.model_fields]:
            lines = [cls._unknown(name, name in environment) for name in unknown]
            raise ValueError("\n".join([*lines, f"allowed: {one_of(cls.model_fields)}"]))
        return checked(environment | given)

    @classmethod
    def _unknown(cls, name: str, from_environment: bool) -> str:
        said = f"{name!r} is not one of this service's"
        if not from_environment:
            return f"setting {said}{did_you_mean(name, cls.model_fields)}"
        variable, variables = PREFIX + name.upper(), [PREFIX + known.upper() for known in cls.model_fields]
        return f"unknown setting {variable} in the environment: {said}{did_you_mean(variable, variables)}"

    @model_validator(mode="after")
    def _gpu_type_with_gpu(self) -> Self:
        if self.gpu_type and not self.gpu:
            raise ValueError(f"gpu_type {self.gpu_type!r} needs gpu=1 or more; it would be dropped in silence")
        return self

    @model_validator(mode="after")
    def _open_paths_with_keys(self) -> Self:
        if "open_paths" in self.model_fields_set and self.api_keys_file is None:
            raise ValueError("open_paths needs api_keys_file: without it every path is open")
        if wrong := [path for path in self.paths_without_key if not path.startswith("/")]:
            raise ValueError(f"open_paths: {one_of(wrong)} is no path; one begins with '/'")
        return self

    @model_validator(mode="after")
    def _signatures_with_keys(self) -> Self:
        if self.signature_rule != "off" and not self.trusted_key_files:
            raise ValueError(
                f"signatures={self.signatures!r} needs trusted_keys: the path of a public key, which "
                "`quantbento keygen` makes"
            )
        return self

    @property
    def trusted_key_files(self) -> tuple[Path, ...]:
        """Of the public keys that models are signed with."""
        return tuple(Path(path) for path in map(str.strip, self.trusted_keys.split(",")) if path)

    @property
    def signature_rule(self) -> Literal["off", "warn", "require"]:
        """What becomes of a model without a trusted signature."""
        return self.signatures or ("require" if self.trusted_key_files else "off")

    def check_files(self) -> None:
        """Raises `QuantbentoError` where a file that a setting names cannot be used. It is of the machine that serves,
        so this is no problem of the settings themselves: a Bento is built without it."""
        if self.api_keys_file is not None:
            key_file.check(self.api_keys_file)

    @property
    def paths_without_key(self) -> tuple[str, ...]:
        """Those that need no API key, beside probes."""
        return tuple(filter(None, map(str.strip, self.open_paths.split(","))))

    @model_validator(mode="after")
    def _objectives_can_be_read(self) -> Self:
        if self.slo_file is not None:
            try:
                read_objectives(self.slo_file)
            except SloError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def wanted_device(self) -> str:
        """The device to ask for: a service that is given a GPU uses it."""
        return "cuda" if self.gpu else AUTO

    @property
    def concurrency(self) -> int:
        """Requests under way in one process."""
        return self.max_concurrency

    @property
    def traces(self) -> bool:
        """Whether requests have spans."""
        return self.tracing or tracing.exports()

    def service_config(self) -> dict[str, Any]:
        """Keyword arguments for `@bentoml.service`."""
        resources: dict[str, Any] = {"cpu": self.cpu, "memory": self.memory}
        if self.gpu:
            resources |= {"gpu": self.gpu} | ({"gpu_type": self.gpu_type} if self.gpu_type else {})
        config: dict[str, Any] = {
            "resources": resources,
            # `max_concurrency` and timeouts are this project's middleware's, which tells clients when to come back.
            # BentoML's timeout is for what that does not see, and for who reads a Bento's description.
            "traffic": {"timeout": self.timeout_seconds},
            "metrics": {"enabled": False},  # quantbento.serving.traffic_metrics has the same
            "logging": {"access": {"enabled": self.access_log}},
        }
        if tracing.exports():
            config["tracing"] = tracing.exporting()
        elif not self.tracing:
            config["tracing"] = {"excluded_urls": [".*"]}
        return config


class ServiceSettings(Settings):
    """Of the services whose requests run in batches: Embedding, TextClassification, TensorModel."""

    max_items: int = Field(64, ge=1, le=10_000, description="inputs in a request")
    max_characters: int = Field(8192, ge=1, le=1_000_000, description="of one text; tokens beyond the model's are cut")

    batching: Literal["quantbento", "bentoml"] = Field("quantbento", description="who makes batches of requests")
    max_batch_size: int = Field(64, ge=2, le=10_000, description="inputs of several requests that run together")
    max_batch_tokens: int = Field(2048, ge=1, description="of texts that run together, padding included")
    max_latency_ms: int = Field(10_000, ge=1, description="a request predicted to take longer is refused with 503")
    max_queue_items: int = Field(4096, ge=1, description="inputs that wait; a request beyond is refused with 503")
    max_queue_tokens: int = Field(1_000_000, ge=1, description="of the texts that wait; more is refused with 503")

    cache_items: int = Field(0, ge=0, description="answers that are kept for items asked again; 0 keeps none")
    cache_bytes: int = Field(64_000_000, ge=1_000, description="the most memory of the answers that are kept")

    follow: bool = Field(False, description="another version answers as soon as `model` stands for it")
    canary: str | None = Field(None, description="tag of a version that answers a part of the requests")
    weight: float | None = Field(None, ge=0, le=100, description="percent of the requests that the canary answers")
    route_type: Literal["random", "header", "query"] = Field("random", description="what decides who gets the canary")
    route_by: str | None = Field(None, description="the header or parameter whose value decides it")
    shadow: str | None = Field(None, description="tag of a version whose answers are compared, and never shown")

    threads: int | None = Field(None, ge=1, description="CPU threads of the model; all cores when left out")
    device: Device = Field(AUTO, description="cpu, cuda, cuda:N or xpu; auto: a GPU that the model can use, or cpu")
    workers: int = Field(1, ge=1, le=256, description="server processes, each with the model in memory")

    @model_validator(mode="after")
    def _a_gpu_is_used(self) -> Self:
        if self.gpu and self.device == "cpu":
            raise ValueError(f"gpu={self.gpu} and device='cpu': leave one of them out")
        return self

    @model_validator(mode="after")
    def _versions_go_together(self) -> Self:
        problems = []
        if (self.canary is None) != (self.weight is None):
            problems.append("canary and weight go together: weight is the canary's percentage of the requests")
        if (self.route_by is None) != (self.route_type == "random"):
            problems.append("route_by is the name of the header or parameter that route_type 'header' or 'query' needs")
        if self.canary is None and self.route_type != "random":
            problems.append(f"route_type {self.route_type!r} has no effect without a canary")
        if self.batching == "bentoml" and (given := self.other_versions()):
            problems.append(f"{', '.join(given)}: not with batching='bentoml', whose batches are of several requests")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _bytes_of_a_cache(self) -> Self:
        if "cache_bytes" in self.model_fields_set and not self.cache_items:
            raise ValueError("cache_bytes has no effect without a cache; set cache_items, or leave it out")
        return self

    def other_versions(self) -> list[str]:
        """The settings given by which another version than the one named can answer."""
        given = {"follow": self.follow, "canary": self.canary, "shadow": self.shadow}
        return [name for name, value in given.items() if value]

    @property
    def wanted_device(self) -> str:
        return super().wanted_device if self.device == AUTO else self.device

    @property
    def concurrency(self) -> int:
        return -(-self.max_concurrency // self.workers)

    def service_config(self) -> dict[str, Any]:
        return super().service_config() | {"workers": self.workers}

    def batched(self) -> dict[str, Any]:
        """Keyword arguments for `@bentoml.api` of an endpoint whose requests run together: BentoML makes batches only
        where it is told to."""
        if self.batching != "bentoml":
            return {}
        return {"batchable": True, "max_batch_size": self.max_batch_size, "max_latency_ms": self.max_latency_ms}


def _said(error: Any) -> str:
    """One error of pydantic's, with the setting and the value it was given."""
    message = error["msg"].removeprefix("Value error, ")
    return f"setting {error['loc'][0]!r}: {message}, not {error['input']!r}" if error["loc"] else message
