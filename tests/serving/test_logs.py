"""A client's mistake is one line in the server's log, without the client's data; our own keep their traceback."""

from __future__ import annotations

import logging

import pytest
from pydantic import BaseModel, ValidationError

from quantbento.serving.errors import BodyTooLarge, EngineUnavailable
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
