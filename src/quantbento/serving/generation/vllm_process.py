"""vLLM's engine, in a process of its own, and its OpenAI endpoints as an ASGI application for this process.

Built from the same parts as vLLM's own server, which has many more endpoints than should face a client.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from quantbento.core.errors import InvalidInput, QuantbentoError, did_you_mean, one_of
from quantbento.core.imports import uncollected
from quantbento.runtimes.adapters import adapter_folders, lora_arguments
from quantbento.runtimes.vllm_settings import EngineSettings, flags


class VLLMProcess:
    """A running engine.

    Attributes:
        app: `/v1/completions` and `/v1/chat/completions`.
    """

    def __init__(self, client: Any, arguments: Any) -> None:
        self._client, self._arguments = client, arguments
        self.app: Any = None

    @classmethod
    def start(
        cls,
        folder: Path,
        names: list[str],
        settings: EngineSettings,
        max_tokens: int,
        tool_parser: str | None = None,
        adapters: dict[str, Any] | None = None,
    ) -> VLLMProcess:
        """Starts the engine's process and waits until it has loaded the model: seconds to minutes.

        Args:
            folder: the model, in hub format.
            names: what requests may call it; the first is what responses call it.
            settings: as the model was judged with.
            max_tokens: new tokens of a request that does not say, and the most for any.
            tool_parser: vLLM's name of how the model's tool calls read; None where chats have no tools.
            adapters: LoRA adapters in the folder, as `quantbento.runtimes.adapters` has them.

        Raises:
            QuantbentoError: there is no such parser.
        """
        os.environ.update(settings.environment())
        with uncollected():
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.entrypoints.launchers.cli_args import make_arg_parser
            from vllm.usage.usage_lib import UsageContext
            from vllm.utils.argparse_utils import FlexibleArgumentParser
            from vllm.v1.engine.async_llm import AsyncLLM

        limits = json.dumps({"max_new_tokens": max_tokens})
        line = ["--model", str(folder), "--served-model-name", *names, "--override-generation-config", limits]
        if tool_parser is not None:
            _check_tool_parser(tool_parser)
            line += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
        if adapters:
            line += flags(lora_arguments(adapters))
            line += [
                "--lora-modules",
                *(f"{name}={place}" for name, place in adapter_folders(folder, adapters).items()),
            ]
        arguments = make_arg_parser(FlexibleArgumentParser()).parse_args([*line, *settings.command_line(folder)])
        context = UsageContext.OPENAI_API_SERVER
        config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config(context)
        return cls(AsyncLLM.from_vllm_config(config, usage_context=context), arguments)

    async def open(self) -> None:
        """Makes `app`, in the event loop that will serve it."""
        from fastapi import FastAPI
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.openai.chat_completion.api_router import router as chat
        from vllm.entrypoints.openai.completion.api_router import router as completion
        from vllm.entrypoints.serve.exception_handling.register import init_exception_handler
        from vllm.utils.gc_utils import freeze_gc_heap

        app = FastAPI(openapi_url=None)
        app.include_router(completion)
        app.include_router(chat)
        init_exception_handler(app)
        tasks = await self._client.get_supported_tasks()
        await init_app_state(self._client, app.state, self._arguments, tasks)
        self.app = app
        freeze_gc_heap()  # or the collector walks all of vLLM's modules again and again, as its own server knows

    @property
    def alive(self) -> bool:
        """False once its process has ended."""
        return not self._client.errored

    @property
    def max_model_len(self) -> int:
        """Tokens of a prompt and its continuation."""
        return self._client.model_config.max_model_len

    async def complete(self, prompt: list[int], **fields: Any) -> tuple[str, int]:
        """The continuation of a prompt's token ids, and its number of tokens.

        Raises:
            InvalidInput: the prompt is longer than the model takes.
        """
        from vllm.entrypoints.openai.completion.protocol import CompletionRequest
        from vllm.exceptions import VLLMValidationError

        request = CompletionRequest(prompt=prompt, **fields)
        try:
            response = await self.app.state.openai_serving_completion.create_completion(request)
        except VLLMValidationError as error:
            raise InvalidInput(str(error)) from None
        return response.choices[0].text, response.usage.completion_tokens or 0

    def stop(self) -> None:
        """Ends the engine's process, and what it was doing."""
        self._client.shutdown(timeout=0)


def _check_tool_parser(name: str) -> None:
    from vllm.tool_parsers import ToolParserManager

    known = ToolParserManager.list_registered()
    if name not in known:
        raise QuantbentoError(
            f"vLLM has no tool_parser {name!r}{did_you_mean(name, known)}; allowed: {one_of(sorted(known))}"
        )
