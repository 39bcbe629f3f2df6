"""A worker that died is noticed soon."""

from __future__ import annotations

import pytest
from bentoml._internal.utils import circus

from quantbento.serving import bentoml_workers


def test_bentoml_looks_often_once_it_is_installed(monkeypatch):
    monkeypatch.setattr(circus.Arbiter, "__init__", bentoml_workers._start)
    assert circus.create_standalone_arbiter([]).check_delay == 10  # else BentoML does so by itself, and this can go
    bentoml_workers.install()
    assert circus.create_standalone_arbiter([]).check_delay == pytest.approx(bentoml_workers.SECONDS)
