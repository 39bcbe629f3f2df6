"""Log lines as JSON: one object each, which says what it is about and never holds a request's text.

`time` (ISO 8601, UTC), `level`, `logger`, `message`; `request_id` where a request is being answered; `trace_id` and
`span_id` where OpenTelemetry has a span; `exception` with its `type` and `stack` where one was logged. Libraries that
set up logging of their own (torch's warnings, vLLM's engine) write to stderr as they do.
"""

from __future__ import annotations

import json
import logging
import threading
import traceback
from datetime import UTC, datetime
from typing import Any

from bentoml._internal import log as bentomls
from opentelemetry import trace

from quantbento.serving.request_state import current_request


class JsonFormatter(logging.Formatter):
    """A line is one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = current_request()
        if request is not None:
            said["request_id"] = request.id
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            said |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info and record.exc_info[1] is not None:
            # What an exception says may quote a request, also where it is answered in another thread or was given up.
            apart = request is None and threading.current_thread() is threading.main_thread()
            said["exception"] = _told(record.exc_info[1], with_message=apart and record.name != "asyncio")
        return json.dumps(said, ensure_ascii=False, default=str)


def install() -> None:
    """Lines of BentoML, uvicorn, circus and Python's warnings too, from now on."""
    bentomls.SERVER_LOGGING_CONFIG["formatters"]["traced"] = {"()": JsonFormatter}  # for what BentoML sets up later
    handlers = [*logging.getLogger().handlers]
    for name in bentomls.SERVER_LOGGING_CONFIG["loggers"]:
        handlers += logging.getLogger(name).handlers
    for handler in handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(JsonFormatter())
    logging.captureWarnings(True)


def _told(error: BaseException, with_message: bool) -> dict[str, Any]:
    stack = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    said: dict[str, Any] = {"type": type(error).__qualname__, "stack": stack}
    if with_message:
        said["message"] = str(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        said["cause"] = _told(cause, with_message)
    return said
