"""Imports without the garbage collector."""

from __future__ import annotations

import gc

import pytest

from quantbento.core.imports import uncollected


@pytest.fixture(autouse=True)
def collector():
    yield
    gc.enable()


def test_the_collector_rests_in_the_block_and_passes_over_what_is_there_afterwards():
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


def test_it_works_again_after_an_error():
    with pytest.raises(ImportError), uncollected():
        import no_such_module  # noqa: F401
    assert gc.isenabled()


def test_who_had_it_off_keeps_it_off():
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
