"""What the bodies of requests have in common: strictness, and limits that are settings, which come as the validation's
context."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo

from quantbento.core.errors import did_you_mean
from quantbento.serving.generation.settings import GenerationSettings

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, StringConstraints(max_length=256)]


class Body(BaseModel):
    """No field that is not named, no number in quotes, no NaN: the engine's parser has nothing to read in another
    way."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True, protected_namespaces=())


def limits_of(info: ValidationInfo) -> GenerationSettings:
    """The settings that a request is checked with."""
    assert isinstance(info.context, GenerationSettings)
    return info.context


def at_most(setting: str) -> AfterValidator:
    """A number that a setting limits."""

    def check(value: int, info: ValidationInfo) -> int:
        limit = getattr(limits_of(info), setting)
        if value > limit:
            raise ValueError(f"must be at most {limit} ({setting})")
        return value

    return AfterValidator(check)


def check_length(characters: int, limits: GenerationSettings) -> None:
    """Raises `ValueError` for more characters, or token ids, than a request may have."""
    if characters > limits.max_characters:
        raise ValueError(f"{characters} characters, must be at most {limits.max_characters} (max_characters)")


def check_token_ids(ids: list[Any]) -> None:
    """Raises one `ValueError`, however many are wrong."""
    if not all(type(i) is int and 0 <= i < 2**31 for i in ids):
        raise ValueError("token ids must be integers from 0")


def problem(error: ValidationError, request: type[BaseModel]) -> tuple[str, str | None]:
    """What is wrong first: a line with the field, the limit and the value, and the field alone."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, "), None
    field, place = str(first["loc"][0]), ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        near = did_you_mean(field, request.model_fields) if len(first["loc"]) == 1 else ""
        return f"{place}: not supported here{near}", field
    value = first["input"]
    shown = f", not {value!r:.80}" if isinstance(value, str | int | float) and value != "" else ""
    return f"{place}: {first['msg'].removeprefix('Value error, ')}{shown}", field
