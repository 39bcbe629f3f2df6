"""What a server's log says of requests that were the client's mistake: one line, without the client's data."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

from bentoml.exceptions import BentoMLException
from pydantic import ValidationError

from quantbento.serving.errors import EngineUnavailable

logger = logging.getLogger("bentoml.serve")
_last: dict[str, float] = {}  # when a line was written, by status
_left_out: Counter[str] = Counter()


def without_clients_mistakes() -> None:
    """BentoML logs a traceback, input included, for every 4xx; a few wrong clients fill a disk with them."""
    logger = logging.getLogger("bentoml._internal.server.http_app")
    if not any(isinstance(f, _Shorten) for f in logger.filters):
        logger.addFilter(_Shorten())


def log_mistake(path: str, error: Exception) -> None:
    """A request that was refused: a line, and of each status at most one in a second."""
    told = _told(error)
    status = told.partition(":")[0]
    if (now := time.monotonic()) - _last.get(status, -1.0) < 1:
        _left_out[status] += 1
        return
    more = f" (and {_left_out.pop(status)} others with {status} since the last line)" if _left_out[status] else ""
    _last[status] = now
    logger.warning("%s %s%s", path, told, more)


def _told(error: BaseException) -> str:
    """The status and what is wrong, without the client's data."""
    if isinstance(error, ValidationError):
        places = {_place(e) + e["type"] for e in error.errors(include_input=False)}
        return f"400: {', '.join(sorted(places)[:3])}"
    assert isinstance(error, BentoMLException)
    return f"{int(error.error_code)}: {getattr(error, 'logged', error)}"


def _place(error: Any) -> str:
    """Where a field is, unless the client made it up."""
    return "" if error["type"] == "extra_forbidden" else ".".join(map(str, error["loc"])) + " "


class _Shorten(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        known = isinstance(error, BentoMLException) and (error.error_code < 500 or isinstance(error, EngineUnavailable))
        if error is not None and (known or isinstance(error, ValidationError)):
            record.exc_info, record.exc_text = None, None
            record.msg, record.args = f"{record.getMessage()} {_told(error)}", ()
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
