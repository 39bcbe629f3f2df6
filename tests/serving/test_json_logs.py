"""Each line of the log is one JSON object: with the request's id and span, never with its text."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest
from bentoml._internal import log as bentomls
from opentelemetry.sdk.trace import TracerProvider

from quantbento.serving import json_logs, request_state
from quantbento.serving.json_logs import JsonFormatter
from quantbento.serving.request_state import RequestState
from tests.stored_texts import server_of

SECRET = "the client's own words"


def line(error: BaseException | None = None, name: str = "bentoml.serve") -> dict:
    """A record as it is written."""
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(name, logging.WARNING, "file.py", 7, "%s\nis ready", ("demo",), info)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


@pytest.fixture
def request_id() -> Iterator[str]:
    """Of the request that is being answered."""
    before = request_state._current.set(RequestState("abc-1", None, {}))
    yield "abc-1"
    request_state._current.reset(before)


def failed() -> Exception:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise ValueError(f"cannot read {SECRET}") from cause
    except ValueError as error:
        return error


def test_a_line_has_time_level_logger_and_message():
    said = line()
    assert datetime.fromisoformat(said.pop("time")).tzinfo is not None
    assert said == {"level": "WARNING", "logger": "bentoml.serve", "message": "demo\nis ready"}


def test_a_request_is_named_by_its_id(request_id):
    assert line()["request_id"] == request_id


def test_a_span_is_named():
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        said = line()
    assert said["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert said["span_id"] == f"{span.get_span_context().span_id:016x}"


def test_an_exception_in_a_request_keeps_its_type_and_stack_and_not_its_words(request_id):
    said = line(failed())
    assert said["exception"]["type"] == "ValueError"
    assert said["exception"]["cause"]["type"] == "KeyError"
    assert said["exception"]["stack"][-1].endswith(" failed")
    assert SECRET not in json.dumps(said)


def test_nor_does_one_of_a_models_thread_or_a_forgotten_task():
    said: list[dict] = []
    thread = threading.Thread(target=lambda: said.append(line(failed())))
    thread.start()
    thread.join()
    assert SECRET not in json.dumps([*said, line(failed(), "asyncio")])


def test_while_a_service_starts_it_says_why_it_cannot():
    assert line(OSError("no space left"))["exception"]["message"] == "no space left"
    assert "message" not in line(failed(), "asyncio")["exception"]


def test_installed_it_stays_when_bentoml_sets_its_logging_up_again(monkeypatch):
    monkeypatch.setattr(bentomls, "SERVER_LOGGING_CONFIG", {**bentomls.SERVER_LOGGING_CONFIG, "formatters": {}})
    monkeypatch.setattr(logging, "captureWarnings", lambda wanted: None)
    loggers = [logging.getLogger(name) for name in ("", "bentoml", "uvicorn.error")]
    before = [[*logger.handlers] for logger in loggers]
    try:
        handler = logging.StreamHandler(sys.stderr)
        loggers[1].handlers = [handler]
        json_logs.install()
        assert isinstance(handler.formatter, JsonFormatter)
        assert bentomls.SERVER_LOGGING_CONFIG["formatters"]["traced"] == {"()": JsonFormatter}
    finally:
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers = handlers


@pytest.mark.slow
@pytest.mark.server
def test_every_line_of_a_server_is_json_and_none_has_the_requests_text(served_home, tmp_path):
    settings = {"log_format": "json", "access_log": True}
    with server_of("Embedding", "tiny-encoder-onnx-int8", served_home, tmp_path, **settings) as server:
        good = httpx.post(f"{server.url}/encode", json={"texts": [SECRET]}, headers={"X-Request-ID": "good-1"})
        wrong = {"texts": [SECRET], SECRET: 1}
        bad = httpx.post(f"{server.url}/encode", json=wrong, headers={"X-Request-ID": "bad-1"})
    assert (good.status_code, bad.status_code) == (200, 400)
    text = (tmp_path / "Embedding.log").read_text()
    lines = [json.loads(each) for each in text.splitlines()]
    assert all(each.keys() >= {"time", "level", "logger", "message"} for each in lines)
    assert {"good-1", "bad-1"} <= {each.get("request_id") for each in lines}
    assert {"bentoml.access", "bentoml.serve"} <= {each["logger"] for each in lines}
    assert SECRET not in text
