"""Services that a test defines are known until it ends."""

from __future__ import annotations

import pytest

from quantbento.serving.served import SERVICES


@pytest.fixture(autouse=True)
def known_services():
    before = dict(SERVICES)
    yield
    SERVICES.clear()
    SERVICES.update(before)
