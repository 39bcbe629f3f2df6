"""NNCF, without what it does besides quantizing: telemetry, progress bars and tables on stdout, and a logger class for
the whole process."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.quantizers.base import select
from quantbento.quantizers.openvino import graph
from quantbento.runtimes.openvino import engine

if TYPE_CHECKING:
    import openvino as ov

MODULES = ("openvino", "nncf", "onnx", "onnxscript")
DISTRIBUTIONS = ("openvino", "nncf", "onnx", "onnxscript", "onnx-ir")


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


def left_out(nncf: Any, model: ov.Model, nodes: Sequence[str], ops: Sequence[str]) -> Any:
    """What stays in full precision, as NNCF takes it.

    Args:
        nodes, ops: fnmatch patterns of operators' names, and of their types.

    Raises:
        QuantbentoError: a pattern matches nothing.
    """
    types = graph.operators(model)
    by_name = set(select(types, ["*"], nodes, "node"))
    by_type = set(select(dict.fromkeys(types.values()), ["*"], ops, "operator type"))
    return nncf.IgnoredScope(names=[name for name in types if name not in by_name or types[name] not in by_type])
