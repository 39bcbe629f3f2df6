"""What a server's log says of requests that were the client's mistake: one line, without the client's data."""

from __future__ import annotations

import logging

from bentoml.exceptions import BentoMLException
from pydantic import ValidationError

from quantbento.serving.errors import EngineUnavailable


def without_clients_mistakes() -> None:
    """BentoML logs a traceback, input included, for every 4xx; a few wrong clients fill a disk with them."""
    logger = logging.getLogger("bentoml._internal.server.http_app")
    if not any(isinstance(f, _Shorten) for f in logger.filters):
        logger.addFilter(_Shorten())


class _Shorten(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ValidationError):
            places = {".".join(map(str, e["loc"])) + " " + e["type"] for e in error.errors(include_input=False)}
            self._shorten(record, f"400: {', '.join(sorted(places)[:3])}")
        elif isinstance(error, BentoMLException) and (error.error_code < 500 or isinstance(error, EngineUnavailable)):
            self._shorten(record, f"{int(error.error_code)}: {error}")
        return True

    @staticmethod
    def _shorten(record: logging.LogRecord, what: str) -> None:
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = f"{record.getMessage()} {what}", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
