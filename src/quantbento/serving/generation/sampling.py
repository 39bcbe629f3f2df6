"""What a checked request asks of a runtime by its contract: temperature, top_p, stop strings and a seed, and of a
completion its log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from quantbento.core.errors import InvalidInput, summary
from quantbento.runtimes.language_model import Sampling
from quantbento.serving.generation.requests import ChatRequest, CompletionRequest, GenerationRequest
from quantbento.serving.generation.structured_outputs import ResponseFormat
from quantbento.tasks.text_generation import TextGeneration

COMPLETION_TOKENS = 16  # OpenAI's default; a chat may fill the room there is
# Fields that `Sampling` does not have, and the values by which clients say that they do not want them.
WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "min_tokens": (0,),
    "top_k": (0, -1),
    "min_p": (0.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "repetition_penalty": (1.0,),
    "logit_bias": ({},),
    "stop_token_ids": ([],),
    "response_format": (ResponseFormat(type="text"),),
    "structured_outputs": (),
    "logprobs": (False,),  # of a chat; a completion's are numbers, and told
    "top_logprobs": (0,),
    "tools": (),
    "tool_choice": ("none",),
    "parallel_tool_calls": (True, False),
    "chat_template_kwargs": (),
}


class Refused(Exception):
    """A request this service does not answer, with the field that is why."""

    def __init__(self, message: str, field: str, status: int = 400) -> None:
        self.message, self.field, self.status = message, field, status
        super().__init__(message)


@dataclass(frozen=True)
class Choice:
    """One text to be made."""

    prompt: list[int]
    sampling: Sampling


def refuse_unsupported(asked: GenerationRequest, names: list[str], runtime: str) -> None:
    """Raises `Refused` where a request asks for what would be left out in silence, or for another model than the one
    of these names, which runs on `runtime`."""
    if asked.model and asked.model not in names:
        raise Refused(no_such_model(asked.model, names), "model", 404)
    whole_only = ("echo", "logprobs") if isinstance(asked, CompletionRequest) else ()
    for field, harmless in WITHOUT_EFFECT.items():
        value = getattr(asked, field, None) if field not in whole_only else None
        if value is not None and not any(type(value) is type(h) and value == h for h in harmless):
            raise Refused(f"{field}: the {runtime} runtime cannot do this; leave it out", field)
    for field in whole_only:
        value = getattr(asked, field)
        if asked.stream and value is not None and value is not False:
            raise Refused(f"{field}: the {runtime} runtime tells this without stream only", field)
    if isinstance(asked, ChatRequest) and any(m.role == "tool" or m.tool_calls for m in asked.messages):
        raise Refused(f"messages: the {runtime} runtime cannot call tools; leave their messages out", "messages")
    if asked.stream_options is not None and not asked.stream:
        raise Refused("stream_options: only with stream", "stream_options")


def no_such_model(asked: str, names: list[str]) -> str:
    """What a client is told that asks for another model than those of these names, in OpenAI's words."""
    served = ", ".join(f"`{name}`" for name in names)
    return f"The model `{asked}` does not exist; this is `{names[0]}`, and `model` may be {served}"


def prompts_of(asked: GenerationRequest, task: TextGeneration) -> list[list[int]]:
    """The token ids of a request's prompts.

    Raises:
        Refused: the chat template does not take the messages, or a prompt is blank.
    """
    field = "messages" if isinstance(asked, ChatRequest) else "prompt"
    try:
        if isinstance(asked, ChatRequest):
            return [task.prompt_ids(task.check([_message(m.model_dump(exclude_none=True)) for m in asked.messages]))]
        assert isinstance(asked, CompletionRequest)
        lone = isinstance(asked.prompt, str) or isinstance(asked.prompt[0], int)
        prompts = [asked.prompt] if lone else asked.prompt
        return [p if isinstance(p, list) else task.text_ids(task.check(p)) for p in prompts]
    except (InvalidInput, TemplateError) as error:
        said = str(error) if isinstance(error, InvalidInput) else f"the chat template: {summary(error)}"
        raise Refused(f"{field}: {said}", field) from None


def choices_of(
    asked: GenerationRequest, prompts: list[list[int]], most_tokens: int, max_model_len: int | None
) -> list[Choice]:
    """The texts to be made, those of the first prompt first.

    Args:
        most_tokens: new tokens of a chat that does not say, where the model has room for them.
        max_model_len: tokens of a prompt and its continuation.
    """
    wanted = asked.max_tokens
    if isinstance(asked, ChatRequest):
        wanted = asked.max_completion_tokens or wanted
    else:
        most_tokens = min(most_tokens, COMPLETION_TOKENS)
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    sampling = Sampling(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        stop=tuple(stop),
        seed=asked.seed,
        ignore_eos=bool(asked.ignore_eos),
    )
    choices = []
    for prompt in prompts:
        room = most_tokens if max_model_len is None else max_model_len - len(prompt)
        limited = replace(sampling, max_tokens=max(1, min(most_tokens, room)) if wanted is None else wanted)
        for number in range(asked.n or 1):
            seed = None if asked.seed is None else asked.seed + number  # or they would all be the same text
            choices.append(Choice(prompt, replace(limited, seed=seed)))
    return choices


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is one text; parts are lines, as vLLM has them."""
    content = message["content"]
    text = content if isinstance(content, str) else "\n".join(part["text"] for part in content)
    return {**message, "content": text}
