"""What a file of the current folder imports of it goes along, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing.local_code import with_imported

FILES = {
    "service.py": "import os, numpy\nimport quantbento.store\nimport my_tasks\nfrom parts import first\n",
    "my_tasks.py": "def later():\n    from shared import words\n",
    "shared.py": "import my_tasks  # a circle\n",
    "parts/__init__.py": "",
    "parts/first.py": "from . import second\nfrom .deep.third import value\nfrom .. import beyond\n",
    "parts/second.py": "import parts.deep.fourth as fourth\n",
    "parts/deep/third.py": "",
    "parts/deep/fourth.py": "",
    "parts/deep/unused.py": "",
    "src/installed/__init__.py": "from .core import x\n",
    "src/installed/core.py": "import in_source\n",
    "src/in_source.py": "",
    "unused.py": "",
    "quantbento/store.py": "",
    "numpy_notes.py": "",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def test_everything_it_imports_of_the_folder_is_found_however_it_is_imported():
    assert [str(path) for path in with_imported([Path("service.py")])] == [
        *("my_tasks.py", "parts/__init__.py", "parts/deep/fourth.py", "parts/deep/third.py", "parts/first.py"),
        *("parts/second.py", "service.py", "shared.py"),
    ]


def test_a_source_folder_is_looked_through_too():
    found = with_imported([Path("src/installed/__init__.py")])
    assert [str(path) for path in found] == ["src/in_source.py", "src/installed/__init__.py", "src/installed/core.py"]


def test_no_files_need_none():
    assert with_imported([]) == []


def test_what_is_no_python_is_named():
    Path("shared.py").write_text("def (:\n")
    with pytest.raises(QuantbentoError, match=r"^shared.py is no Python: invalid syntax"):
        with_imported([Path("service.py")])
