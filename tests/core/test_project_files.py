"""Where service.py, the build files and the templates are: here, in the wheel, or at the top of the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError
from tests.conftest import ROOT


def test_in_a_checkout_they_are_at_its_top():
    assert project_files.folder() == ROOT
    assert project_files.LIBRARY == ROOT / "src" / "quantbento"
    for path in (project_files.SERVICE, project_files.BUILD_FILES, project_files.TEMPLATES):
        assert (ROOT / path).exists()


def test_in_a_wheel_they_are_in_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(project_files, "CARRIED", tmp_path)
    assert project_files.folder() == ROOT
    (tmp_path / "service.py").touch()
    assert project_files.folder() == tmp_path


def test_the_current_folder_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_files.find(Path("service.py")) == ROOT / "service.py"
    Path("service.py").touch()
    assert project_files.find(Path("service.py")) == Path("service.py")


def test_inside_a_bento_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(project_files, "LIBRARY", tmp_path / "src" / "quantbento")
    with pytest.raises(QuantbentoError, match="install it again: pip install"):
        project_files.folder()
