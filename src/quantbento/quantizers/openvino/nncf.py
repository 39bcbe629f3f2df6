"""NNCF, without what it does besides quantizing: telemetry, progress bars and tables on stdout, and a logger class for
the whole process."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes.openvino import engine


@contextlib.contextmanager
def quiet_nncf() -> Iterator[Any]:
    """The `nncf` package.

    Raises:
        QuantbentoError: in place of whatever it raises inside the block.
    """
    engine()
    loggers = logging.getLoggerClass()
    try:
        import nncf
    finally:
        logging.setLoggerClass(loggers)
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield nncf
        except QuantbentoError:
            raise
        except Exception as error:  # of its own kinds, OpenVINO's and NumPy's
            raise QuantbentoError(f"NNCF could not quantize the graph: {summary(error)}") from error
