"""No file with API keys goes into a Bento."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.packing.build_files import BuildFile
from quantbento.packing.keys_in_files import problems
from quantbento.serving import key_file


@pytest.fixture
def key(tmp_path, monkeypatch) -> str:
    """One of `secrets/keys`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("service.py").write_text("served = 1\n")
    Path("secrets").mkdir()
    return key_file.add(Path("secrets/keys"), "ada")


def found(**data: object) -> list[str]:
    return list(problems(BuildFile(Path("bentofile.yaml"), data)))


def test_a_file_of_keys_is_refused_by_its_name_wherever_it_is(key):
    [told] = found()
    assert told.startswith("secrets/keys holds API keys")
    assert key not in told
    Path("secrets").rename(".hidden")
    assert found()[0].startswith(".hidden/keys ")


def test_a_key_itself_is_refused_too(key):
    Path("secrets/keys").unlink()
    Path("start.sh").write_text(f"curl -H 'X-API-Key: {key}'\n")
    assert [told.split()[0] for told in found()] == ["start.sh"]


def test_what_is_not_packed_may_hold_keys(key):
    assert found(include=["*.py"]) == []
    assert found(exclude=["secrets/"]) == []
    Path(".bentoignore").write_text("secrets/\n")
    assert found() == []


def test_other_files_with_digests_are_no_keys(key):
    Path("secrets/keys").write_text(f"sha256:{'0' * 64}\nnumpy==2.0 --hash=sha256:{'1' * 64}\n{'2' * 64}  a.bin\n")
    Path("weights.bin").write_bytes(bytes(range(256)))
    assert found() == []
