"""A file of API keys: its lines, who is told what of a wrong one, and changes that nobody reads half of."""

from __future__ import annotations

import hashlib
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from quantbento.serving import key_file
from quantbento.serving.key_file import KeyFileError

HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two")}


def test_lines_are_names_and_hashes_between_comments(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\none:{HASHES['one']}\n  two:{HASHES['two'].upper()}  \n")
    assert {name: digest.hex() for name, digest in key_file.read(path).items()} == HASHES
    assert key_file.digest_of(b"one").hex() == HASHES["one"]


def test_every_wrong_line_is_named_and_none_is_shown(tmp_path):
    path = tmp_path / "keys"
    one, two = HASHES.values()
    path.write_text(f"qb-a-key-in-clear\none:{one}\none:{two}\nother:{one}\nshort:abc\nso me:{two}\n")
    with pytest.raises(KeyFileError) as raised:
        key_file.read(path)
    told = str(raised.value)
    assert re.findall(r"line (\d)", told) == ["1", "3", "4", "5", "6"]
    assert "quantbento keys add" in told
    for secret in ("clear", "abc", "so me", one, two):
        assert secret not in told


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["missing", "binary"])
def test_what_cannot_be_read_is_said_with_the_whole_path(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError, match=re.escape(str(path))):
        key_file.read(path.relative_to(tmp_path))


def test_a_new_key_is_random_and_only_its_hash_is_kept(tmp_path):
    path = tmp_path / "keys"
    keys = [key_file.add(path, name) for name in ("ada", "bob")]
    assert all(re.fullmatch(r"qb-[A-Za-z0-9_-]{43}", key) for key in keys)
    assert keys[0] != keys[1]
    assert list(key_file.read(path).values()) == [key_file.digest_of(key.encode()) for key in keys]
    assert not any(key in path.read_text() for key in keys)


def test_a_changed_file_is_its_owners_alone_and_keeps_its_other_lines(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\none:{HASHES['one']}")  # without an end of line
    path.chmod(0o644)
    before = path.stat().st_ino
    key_file.add(path, "ada")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != before  # moved into place, not written to
    key_file.remove(path, "one")
    assert path.read_text().startswith("# ours\nada:")
    assert list(key_file.read(path)) == ["ada"]
    assert not [left for left in tmp_path.iterdir() if left.name not in ("keys", ".keys.lock")]


def test_what_a_link_points_to_is_changed(tmp_path):
    (tmp_path / "real").touch()
    (tmp_path / "keys").symlink_to("real")
    key_file.add(tmp_path / "keys", "ada")
    assert (tmp_path / "keys").is_symlink()
    assert list(key_file.read(tmp_path / "real")) == ["ada"]


def test_two_at_once_lose_no_key(tmp_path):
    names = [f"key-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: key_file.add(tmp_path / "keys", name), names))
    assert set(key_file.read(tmp_path / "keys")) == set(names)


@pytest.mark.parametrize("name", ["", "a:b", "#a", "two words", "é", "x" * 65])
def test_a_name_that_cannot_stand_in_a_line_or_a_log_is_refused(tmp_path, name):
    with pytest.raises(KeyFileError, match="cannot name a key"):
        key_file.add(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_mistakes_change_nothing_and_say_what_helps(tmp_path):
    path = tmp_path / "keys"
    key_file.add(path, "ada")
    before = path.read_text()
    with pytest.raises(KeyFileError, match="has a key 'ada'"):
        key_file.add(path, "ada")
    with pytest.raises(KeyFileError, match="no key 'adda'; did you mean 'ada'"):
        key_file.remove(path, "adda")
    with pytest.raises(KeyFileError, match="there is no folder"):
        key_file.add(tmp_path / "nowhere" / "keys", "ada")
    assert path.read_text() == before
