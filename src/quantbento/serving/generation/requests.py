"""OpenAI's requests for text, with a limit on everything a client can ask for.

Engines take many more fields than OpenAI's, some of which run a client's code or use memory without bound: chat
templates, grammars, regular expressions, images by address. Only what stands here passes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from quantbento.serving.generation.body import Body, Name, TokenId, at_most, check_length, check_token_ids, limits_of
from quantbento.serving.generation.structured_outputs import ResponseFormat, StructuredOutputs
from quantbento.serving.generation.tools import ToolCalls, ToolChoice, Tools

MAX_STOPS = 16  # OpenAI's is 4; lm-evaluation-harness sends a task's own and the end token's


def _prompt(value: Any, info: ValidationInfo) -> Any:
    """A text, its token ids, or a list of either."""
    limits = limits_of(info)
    prompts = value if _is_many(value) else [value]
    if len(prompts) > limits.max_prompts:
        raise ValueError(f"{len(prompts)} prompts, must be at most {limits.max_prompts} (max_prompts)")
    for prompt in prompts:
        if not isinstance(prompt, str | list) or type(prompt) is not type(prompts[0]):
            raise ValueError("must be a text, its token ids, or a list of either")
        if not prompt:
            raise ValueError("must not be empty")
        if isinstance(prompt, list):
            check_token_ids(prompt)
        check_length(len(prompt), limits)
    return value


def _is_many(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)


def _content(value: Any) -> Any:
    """A message's text, in parts or not."""
    if value is None or isinstance(value, str):
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
    if len(texts) > MAX_STOPS:
        raise ValueError(f"{len(texts)} strings, must be at most {MAX_STOPS}")
    return value


def _echo(value: bool | None, info: ValidationInfo) -> bool | None:
    if not value and info.data.get("max_tokens") == 0:
        raise ValueError("max_tokens 0 asks for nothing without echo; must be at least 1")
    return value


def _of_the_prompt_too(value: int, info: ValidationInfo) -> int:
    """With `echo`, log-probabilities are of every token of the prompts too: their memory is limited here."""
    if not info.data.get("echo"):
        return value
    limits, prompt = limits_of(info), info.data.get("prompt", "")
    beyond = "with echo, would be of the whole prompt too, whose memory has no limit beyond"
    if value > limits.max_prompt_logprobs:
        raise ValueError(f"{beyond} {limits.max_prompt_logprobs} for each token (max_prompt_logprobs)")
    length = sum(map(len, prompt)) if _is_many(prompt) else len(prompt)
    if length > limits.max_characters:
        raise ValueError(
            f"{beyond} {limits.max_characters} characters of all prompts together (max_characters); these have {length}"
        )
    if (info.data.get("n") or 1) > 1 or info.data.get("stream"):
        raise ValueError(f"{beyond} one choice (n) that is not streamed")
    return value


def _alone(value: StructuredOutputs, info: ValidationInfo) -> StructuredOutputs:
    wanted = info.data.get("response_format")
    if wanted is not None and wanted.type != "text":
        raise ValueError(f"does not go with a response_format of the type {wanted.type!r}; leave one out")
    return value


class StreamOptions(Body):
    include_usage: bool = False


Tokens = Annotated[int, Field(ge=1), at_most("max_tokens")]


class GenerationRequest(Body):
    """What completions and chat completions have in common. None is the engine's default."""

    model: Name | None = None
    max_tokens: Tokens | None = None
    min_tokens: Annotated[int, Field(ge=0), at_most("max_tokens")] | None = None
    n: Annotated[int, Field(ge=1), at_most("max_choices")] | None = None
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
    structured_outputs: Annotated[StructuredOutputs, AfterValidator(_alone)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Name | None = None


class CompletionRequest(GenerationRequest):
    """`POST /v1/completions`."""

    prompt: Annotated[Any, AfterValidator(_prompt)]
    echo: Annotated[bool | None, Field(validate_default=True), AfterValidator(_echo)] = None
    max_tokens: Annotated[int, Field(ge=0), at_most("max_tokens")] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20), AfterValidator(_of_the_prompt_too)] | None = None


class Message(Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Any, AfterValidator(_content)] = None
    name: Name | None = None
    tool_calls: ToolCalls | None = None
    tool_call_id: Name | None = None
    # Clients send an answer's message back as it was, with what it did not have.
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    reasoning: None = None

    @model_validator(mode="after")
    def _says_something(self) -> Message:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("content: must be a text, or a list of parts of type 'text'")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("tool_call_id: goes with the role 'tool', and with no other")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls: only of the role 'assistant'")
        return self


class TemplateArguments(Body):
    enable_thinking: bool


def _messages(messages: list[Message], info: ValidationInfo) -> list[Message]:
    texts = [m.content if isinstance(m.content, str) else "".join(p["text"] for p in m.content or ()) for m in messages]
    texts += [call.function.arguments for message in messages for call in message.tool_calls or ()]
    check_length(sum(map(len, texts)), limits_of(info))
    return messages


def _with_tools(value: Any, info: ValidationInfo) -> Any:
    if value != "none" and not info.data.get("tools") and "tools" in info.data:  # else, what is wrong is said of those
        raise ValueError("only with tools")
    return value


class ChatRequest(GenerationRequest):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1024), AfterValidator(_messages)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Tools | None = None
    tool_choice: Annotated[ToolChoice, AfterValidator(_with_tools)] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: TemplateArguments | None = None
