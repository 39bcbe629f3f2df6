"""One key per user, which others cannot read."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from quantbento.core.user_key import key_file, user_key


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_it_is_made_once_and_is_readable_by_its_user_alone():
    first = user_key()
    assert user_key() == first and len(first) == 32
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert [p.name for p in key_file().parent.iterdir()] == ["cache.key"]


def test_runs_that_start_together_get_the_same():
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: user_key(), range(32)))) == 1


def test_a_damaged_one_says_what_to_do():
    user_key()
    key_file().write_bytes(b"short")
    with pytest.raises(OSError, match=r"cache\.key is damaged; remove it"):
        user_key()


def test_it_is_in_the_home_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file() == tmp_path / ".local" / "state" / "quantbento" / "cache.key"
