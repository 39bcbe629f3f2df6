"""A service that is started to be measured, and ended."""

from __future__ import annotations

import httpx
import psutil
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.serving import started as module
from quantbento.serving.command import ServeCommand
from quantbento.serving.started import started
from tests.conftest import model_store


@pytest.mark.slow
@pytest.mark.server
def test_it_answers_and_ends(served_home):
    with model_store(served_home), started("tiny-encoder-onnx-int8", {"workers": "1"}) as service:
        assert httpx.get(f"{service.url}/info").json()["task"] == "feature-extraction"
        assert service.load_seconds > 0
        assert service.memory_bytes() > 50e6
        family = module._family(service.process.pid)
        assert len(family) > 1
    assert not any(psutil.pid_exists(process.pid) and process.is_running() for process in family)


def test_one_that_ends_by_itself_is_told_with_its_last_line(monkeypatch):
    command = ServeCommand("m:1", "tensor", "onnx", ["this"], {}, [])  # a module that prints a poem and ends
    monkeypatch.setattr(module, "serve_command", lambda *arguments: command)
    said = r"m:1 was not ready: Namespaces are one honking .* Try: quantbento serve m"
    with pytest.raises(QuantbentoError, match=said), started("m", {}):
        pytest.fail("it is not ready")
