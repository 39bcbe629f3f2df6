"""A client's mistake is one line in the server's log, without the client's data; our own keep their traceback."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from pydantic import BaseModel, ValidationError

from quantbento.serving import logs
from quantbento.serving.errors import BodyTooLarge, EngineUnavailable, InvalidJson, Overloaded
from quantbento.serving.logs import without_clients_mistakes

LOGGER = "bentoml._internal.server.http_app"


class Texts(BaseModel):
    texts: list[str]


def log(error: Exception, caplog: pytest.LogCaptureFixture) -> str:
    without_clients_mistakes()
    without_clients_mistakes()  # a second service in the process adds no second filter
    logging.getLogger("bentoml").propagate = True
    with caplog.at_level(logging.INFO):
        try:
            raise error
        except Exception:
            logging.getLogger(LOGGER).error("Exception on /encode [POST]", exc_info=True)
    return caplog.text


def test_a_validation_error_is_one_line_without_the_input(caplog):
    with pytest.raises(ValidationError) as raised:
        Texts.model_validate({"texts": ["fine", {"my secret": 1}]})
    text = log(raised.value, caplog)
    assert "400: texts.1 string_type" in text
    assert "secret" not in text
    assert "Traceback" not in text


def test_a_field_that_a_client_made_up_is_not_named(caplog):
    class Nothing(BaseModel, extra="forbid"):
        pass

    with pytest.raises(ValidationError) as raised:
        Nothing.model_validate({"my secret": 1})
    text = log(raised.value, caplog)
    assert "400: extra_forbidden" in text
    assert "secret" not in text


def test_a_refused_body_is_one_line(caplog):
    text = log(BodyTooLarge("too large"), caplog)
    assert "413: too large" in text
    assert "Traceback" not in text


def test_an_engine_that_is_starting_is_one_line(caplog):
    text = log(EngineUnavailable("starting"), caplog)
    assert "503: starting" in text
    assert "Traceback" not in text


def test_a_defect_keeps_its_traceback(caplog):
    assert "Traceback" in log(RuntimeError("ours"), caplog)


def test_of_each_status_there_is_at_most_one_line_in_a_second(caplog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(logs, "_last", {})
    monkeypatch.setattr(logs, "_left_out", Counter())
    with caplog.at_level(logging.WARNING, "bentoml.serve"):
        for _ in range(300):
            logs.log_mistake("/encode", Overloaded("no room", retry_after=1))
        logs.log_mistake("/encode", InvalidJson("a key of the client's twice"))
        now[0] += 1.5
        logs.log_mistake("/encode", Overloaded("no room", retry_after=1))
    assert [record.getMessage() for record in caplog.records] == [
        "/encode 503: no room",
        "/encode 400: the body is not valid JSON",
        "/encode 503: no room (and 299 others with 503 since the last line)",
    ]
