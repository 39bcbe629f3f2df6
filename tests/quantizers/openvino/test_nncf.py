"""NNCF quantizes, and does nothing else to the process."""

import logging

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.openvino.nncf import quiet_nncf
from tests.jobs import run_elsewhere


def test_it_writes_nothing_to_stdout_and_warns_of_nothing(capsys, recwarn):
    import warnings

    with quiet_nncf():
        print("a progress bar")
        warnings.warn("a tracer warning", stacklevel=1)
    print("after")
    assert capsys.readouterr().out == "after\n"
    assert not recwarn.list


def test_its_errors_are_one_sentence():
    said = r"^NNCF could not quantize the graph: ValueError: no such operator$"
    with pytest.raises(QuantbentoError, match=said), quiet_nncf():
        raise ValueError("no such operator.\nand a dump of the graph")


def test_our_own_errors_go_through_as_they_are():
    with pytest.raises(QuantbentoError, match=r"^the pattern matches nothing$"), quiet_nncf():
        raise QuantbentoError("the pattern matches nothing")


def test_it_is_loaded_without_telemetry_and_without_a_logger_class_of_its_own(tmp_path):
    code = """
import logging, sys
before = logging.getLoggerClass()
from quantbento.quantizers.openvino.nncf import quiet_nncf
with quiet_nncf() as nncf:
    assert nncf.quantize
assert logging.getLoggerClass() is before
loaded = [n for n, m in sys.modules.items() if n.split(".")[0] == "openvino_telemetry" and m is not None]
assert not loaded, loaded
"""
    assert run_elsewhere(code, tmp_path) == ""


def test_it_logs_errors_only():
    with quiet_nncf():
        pass
    assert logging.getLogger("nncf").level == logging.ERROR
