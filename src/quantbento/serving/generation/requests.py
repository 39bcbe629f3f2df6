"""OpenAI's requests for text, with a limit on everything a client can ask for.

Engines take many more fields than OpenAI's, some of which run a client's code or use memory without bound: chat
templates, grammars, regular expressions, images by address, log-probabilities of whole prompts. Only what stands here
passes. Limits that are settings (`GenerationSettings`) come as the validation's context.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo

from quantbento.core.errors import did_you_mean
from quantbento.serving.generation.settings import GenerationSettings


def _limits(info: ValidationInfo) -> GenerationSettings:
    assert isinstance(info.context, GenerationSettings)
    return info.context


def _at_most(setting: str) -> AfterValidator:
    """A number that a setting limits."""

    def check(value: int, info: ValidationInfo) -> int:
        limit = getattr(_limits(info), setting)
        if value > limit:
            raise ValueError(f"must be at most {limit} ({setting})")
        return value

    return AfterValidator(check)


def _prompt(value: Any, info: ValidationInfo) -> Any:
    """A text, its token ids, or a list of either."""
    limits = _limits(info)
    many = isinstance(value, list) and bool(value) and not isinstance(value[0], int)
    prompts = value if many else [value]
    if len(prompts) > limits.max_prompts:
        raise ValueError(f"{len(prompts)} prompts, must be at most {limits.max_prompts} (max_prompts)")
    for prompt in prompts:
        if not isinstance(prompt, str | list) or type(prompt) is not type(prompts[0]):
            raise ValueError("must be a text, its token ids, or a list of either")
        if not prompt:
            raise ValueError("must not be empty")
        if isinstance(prompt, list) and not all(type(i) is int and 0 <= i < 2**31 for i in prompt):
            raise ValueError("token ids must be integers from 0")
        _check_length(len(prompt), limits)
    return value


def _content(value: Any) -> Any:
    """A message's text, in parts or not."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(p, dict) and p.get("type") == "text" for p in value):
        raise ValueError("must be a text, or a list of parts of type 'text'")
    if not all(isinstance(part.get("text"), str) and len(part) == 2 for part in value):
        raise ValueError('a part must be {"type": "text", "text": "..."}')
    return value


def _stop(value: Any) -> Any:
    """One or more strings that end the text."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and 1 <= len(t) <= 256 for t in texts):
        raise ValueError("must be strings of 1 to 256 characters")
    if len(texts) > 4:
        raise ValueError(f"{len(texts)} strings, must be at most 4")
    return value


def _not_of_the_prompt(value: int, info: ValidationInfo) -> int:
    if info.data.get("echo"):
        raise ValueError("with echo, would be of the whole prompt too, whose memory has no limit; leave one out")
    return value


def _check_length(characters: int, limits: GenerationSettings) -> None:
    if characters > limits.max_characters:
        raise ValueError(f"{characters} characters, must be at most {limits.max_characters} (max_characters)")


class _Body(BaseModel):
    # Without NaN, numbers in quotes and the like, the engine's parser has nothing to read in another way.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class StreamOptions(_Body):
    include_usage: bool = False


class ResponseFormat(_Body):
    """A schema of the client's would be compiled without a limit on time or memory."""

    type: Literal["text", "json_object"]


Tokens = Annotated[int, Field(ge=1), _at_most("max_tokens")]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, StringConstraints(max_length=256)]


class GenerationRequest(_Body):
    """What completions and chat completions have in common. None is the engine's default."""

    model: Name | None = None
    max_tokens: Tokens | None = None
    min_tokens: Annotated[int, Field(ge=0), _at_most("max_tokens")] | None = None
    n: Annotated[int, Field(ge=1), _at_most("max_choices")] | None = None
    best_of: Literal[1] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    logit_bias: Annotated[dict[Name, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=300)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[Any, AfterValidator(_stop)] = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=16)] | None = None
    ignore_eos: bool | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Name | None = None


class CompletionRequest(GenerationRequest):
    """`POST /v1/completions`."""

    prompt: Annotated[Any, AfterValidator(_prompt)]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20), AfterValidator(_not_of_the_prompt)] | None = None


class Message(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Any, AfterValidator(_content)]
    name: Name | None = None


class TemplateArguments(_Body):
    enable_thinking: bool


def _messages(messages: list[Message], info: ValidationInfo) -> list[Message]:
    texts = [m.content if isinstance(m.content, str) else "".join(p["text"] for p in m.content) for m in messages]
    _check_length(sum(map(len, texts)), _limits(info))
    return messages


class ChatRequest(GenerationRequest):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1024), AfterValidator(_messages)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    chat_template_kwargs: TemplateArguments | None = None


def problem(error: ValidationError, request: type[BaseModel]) -> tuple[str, str | None]:
    """What is wrong first: a line with the field, the limit and the value, and the field alone."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return first["msg"], None
    field, place = str(first["loc"][0]), ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        near = did_you_mean(field, request.model_fields) if len(first["loc"]) == 1 else ""
        return f"{place}: not supported here{near}", field
    value = first["input"]
    shown = f", not {value!r:.80}" if isinstance(value, str | int | float) and value != "" else ""
    return f"{place}: {first['msg'].removeprefix('Value error, ')}{shown}", field
