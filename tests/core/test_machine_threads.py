"""Threads follow a container's CPU limit, not the cores it sees."""

from __future__ import annotations

import os

import pytest

from quantbento.core import machine
from quantbento.core.machine import default_threads


@pytest.fixture(autouse=True)
def groups(tmp_path, monkeypatch):
    """A machine with 64 cores and no control groups."""
    monkeypatch.setattr(machine, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(machine, "CFS", tmp_path / "cpu")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "threads"),
    [
        ("max 100000", 64),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("9900000 100000", 64),
        ("what", 64),
    ],
)
def test_version_2_of_control_groups(groups, text, threads):
    (groups / "cpu.max").write_text(f"{text}\n")
    assert default_threads() == threads


@pytest.mark.parametrize(("quota", "threads"), [("-1", 64), ("400000", 4)])
def test_version_1_of_control_groups(groups, quota, threads):
    (groups / "cpu").mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert default_threads() == threads


def test_without_control_groups_every_core(groups):
    assert default_threads() == 64
