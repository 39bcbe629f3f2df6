"""Texts to token ids and back, as vLLM's server has it: `POST /tokenize`, `POST /detokenize`, `GET /tokenizer_info`.

By the model's own tokenizer, of texts and of ids: a chat template of a client's would be a program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, StringConstraints, ValidationError, ValidationInfo
from starlette.responses import JSONResponse

from quantbento.core.errors import InvalidInput
from quantbento.serving.asgi import Receive, Scope, Send
from quantbento.serving.errors import BodyTooLarge, ClientLeft, EngineUnavailable
from quantbento.serving.generation.body import Body, Name, check_length, check_token_ids, limits_of, problem
from quantbento.serving.generation.engine import Engine
from quantbento.serving.generation.guard import REFUSED
from quantbento.serving.generation.sampling import no_such_model
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.problems import Problem, send_problem
from quantbento.serving.request_guard import body_of

# What of a tokenizer's configuration is told. Paths of the machine that it was read from are not.
TOLD = (
    *("add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces", "model_max_length"),
    *("padding_side", "truncation_side"),
)


def _length(value: Any, info: ValidationInfo) -> Any:
    check_length(len(value), limits_of(info))
    return value


def _token_ids(value: Any, info: ValidationInfo) -> list[int]:
    if not isinstance(value, list):
        raise ValueError("must be a list of token ids")
    check_token_ids(value)
    return _length(value, info)


class TokenizeRequest(Body):
    """`POST /tokenize`; `return_token_strs` asks for the tokens as the vocabulary has them, too."""

    model: Name | None = None
    prompt: Annotated[str, StringConstraints(min_length=1), AfterValidator(_length)]
    add_special_tokens: bool = True
    return_token_strs: bool | None = None


class DetokenizeRequest(Body):
    """`POST /detokenize`."""

    model: Name | None = None
    tokens: Annotated[Any, AfterValidator(_token_ids)]


REQUESTS: dict[str, type[TokenizeRequest] | type[DetokenizeRequest] | None] = {
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
    "/tokenizer_info": None,  # GET
}


class TokenizeResponse(BaseModel):
    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeResponse(BaseModel):
    prompt: str


def tokenize(asked: TokenizeRequest, engine: Engine) -> TokenizeResponse:
    """A text's token ids."""
    tokenizer = engine.task.tokenizer
    ids = list(tokenizer(asked.prompt, add_special_tokens=asked.add_special_tokens, verbose=False)["input_ids"])
    names = tokenizer.convert_ids_to_tokens(ids) if asked.return_token_strs else None
    return TokenizeResponse(count=len(ids), max_model_len=engine.max_model_len, tokens=ids, token_strs=names)


def detokenize(asked: DetokenizeRequest, engine: Engine) -> DetokenizeResponse:
    """The text of token ids, special tokens and all.

    Raises:
        InvalidInput: ids that the tokenizer does not have.
    """
    tokenizer = engine.task.tokenizer
    if beyond := [i for i in asked.tokens if i >= len(tokenizer)]:
        raise InvalidInput(f"tokens: {beyond[0]} is none of this model's, which are 0 to {len(tokenizer) - 1}")
    return DetokenizeResponse(prompt=tokenizer.decode(asked.tokens))


def tokenizer_info(engine: Engine) -> dict[str, Any]:
    """What clients need to write prompts: special tokens and the chat template, by the names of
    `tokenizer_config.json`."""
    tokenizer = engine.task.tokenizer
    info = {name: getattr(tokenizer, name, None) for name in TOLD}
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    info |= {"tokenizer_class": type(tokenizer).__name__, "bos_token": None, "eos_token": None, "pad_token": None}
    info |= {"chat_template": tokenizer.chat_template, **special}
    # A tokenizer that does not say how much it takes has a number of 30 digits there.
    longest = info["model_max_length"] or 0
    return info | {"model_max_length": longest if 0 < longest < 2**53 else engine.max_model_len}


class TokenizingEndpoint:
    """ASGI application: one of the three, for an engine that may not be ready yet."""

    def __init__(
        self,
        path: str,
        ready_engine: Callable[[], Engine],
        settings: GenerationSettings,
        broken_rule: Callable[[str], str | None] = lambda text: None,
    ) -> None:
        """`broken_rule` names the rule for prompts that a text breaks: what no model may read is not tokenized."""
        self._path, self._ready_engine, self._settings = path, ready_engine, settings
        self._broken_rule = broken_rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asked = self._asked(await body_of(scope, receive))
            engine = self._ready_engine()
            if asked is not None and asked.model and asked.model not in engine.every_name:
                told = f"model: {no_such_model(asked.model, engine.every_name)}"
                await send_problem(scope, send, Problem(404, told))
                return
            # In a thread: a long text takes tenths of a second.
            answer = await asyncio.to_thread(self._answer, asked, engine)
        except (BodyTooLarge, ClientLeft, EngineUnavailable) as error:
            await send_problem(scope, send, Problem.of(error))
        except InvalidInput as error:
            await send_problem(scope, send, Problem(400, error.message))
        else:
            await JSONResponse(answer)(scope, receive, send)

    def _answer(self, asked: TokenizeRequest | DetokenizeRequest | None, engine: Engine) -> dict[str, Any]:
        if isinstance(asked, TokenizeRequest):
            if rule := self._broken_rule(asked.prompt):
                raise InvalidInput(f"prompt: {REFUSED} {rule}")
            return tokenize(asked, engine).model_dump()
        return tokenizer_info(engine) if asked is None else detokenize(asked, engine).model_dump()

    def _asked(self, body: bytes) -> TokenizeRequest | DetokenizeRequest | None:
        if (request := REQUESTS[self._path]) is None:
            return None
        try:
            return request.model_validate_json(body, context=self._settings)
        except ValidationError as error:
            raise InvalidInput(problem(error, request)[0]) from None
