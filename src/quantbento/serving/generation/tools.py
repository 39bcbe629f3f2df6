"""Tools that a chat's model may ask the client to call. Nothing here calls one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo

from quantbento.serving.generation.body import Body, Name, check_length, limits_of
from quantbento.serving.generation.structured_outputs import Schema

MAX_TOOLS = 64
FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class Function(Body):
    name: FunctionName
    description: Annotated[str, StringConstraints(max_length=4096)] | None = None
    parameters: Schema | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: FunctionName


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class CalledFunction(Body):
    name: FunctionName
    arguments: str


class ToolCall(Body):
    """What the model asked for, as its client sends it back."""

    id: Name
    type: Literal["function"]
    function: CalledFunction


def _allowed(tools: list[Tool], info: ValidationInfo) -> list[Tool]:
    limits = limits_of(info)
    if limits.tool_parser is None:
        raise ValueError(
            "need the setting tool_parser, which says how the calls of this model read (of models on vllm: "
            "quantbento serve NAME --arg tool_parser=hermes)"
        )
    check_length(sum(len(tool.model_dump_json()) for tool in tools), limits)
    return tools


Tools = Annotated[list[Tool], Field(min_length=1, max_length=MAX_TOOLS), AfterValidator(_allowed)]
ToolChoice = Literal["none", "auto", "required"] | NamedTool
ToolCalls = Annotated[list[ToolCall], Field(max_length=MAX_TOOLS)]
