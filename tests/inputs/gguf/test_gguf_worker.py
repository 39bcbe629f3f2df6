"""Of a source distribution, the converter is unpacked and nothing else; half of one is refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from quantbento.inputs.gguf import gguf_worker

FILES = [
    "LICENSE",
    "convert_hf_to_gguf.py",
    "conversion/base.py",
    "gguf-py/gguf/__init__.py",
    "src/llama.cpp",
]


def archive_of(names, path):
    with tarfile.open(path, "w:gz") as file:
        for name in ("setup.py", *(f"vendor/llama.cpp/{name}" for name in names)):
            entry = tarfile.TarInfo(f"llama_cpp_python-1/{name}")
            entry.size = len(name)
            file.addfile(entry, io.BytesIO(name.encode()))
    return path


def test_the_converter_is_unpacked(tmp_path):
    gguf_worker._unpack(archive_of(FILES, tmp_path / "a.tar.gz"), tmp_path / "there")
    found = {str(p.relative_to(tmp_path / "there")) for p in (tmp_path / "there").rglob("*") if p.is_file()}
    assert found == set(FILES[:-1])


def test_a_release_without_the_converter_is_refused(tmp_path):
    with pytest.raises(gguf_worker.CannotConvert, match=r"a.tar.gz has no conversion, gguf-py of llama.cpp"):
        gguf_worker._unpack(archive_of(FILES[:2], tmp_path / "a.tar.gz"), tmp_path / "there")
    assert not (tmp_path / "there").exists()
