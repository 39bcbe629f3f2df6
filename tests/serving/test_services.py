"""The services of a `service.py` by task: the current folder's own win, quantbento's are for all other tasks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import service
from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.served import SERVICES
from quantbento.serving.services import service_for
from quantbento.serving.settings import ServiceSettings
from tests.conftest import ROOT

OWN = """
import bentoml
from my_limits import Limits
from quantbento.serving.model import ServedModel
from quantbento.serving.service import BatchService

settings = Limits.read()
mine = ServedModel(settings, task="{task}")


@bentoml.service(**settings.service_config())
class Mine(BatchService):
    served = mine


AnotherName = Mine
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_limits", None)


def write_own(task: str) -> None:
    Path("service.py").write_text(OWN.format(task=task))
    imported = "from quantbento.serving.settings import ServiceSettings"
    Path("my_limits.py").write_text(f"{imported}\n\n\nclass Limits(ServiceSettings):\n    most: int = 3\n")


@pytest.mark.parametrize("task", registry.TASKS)
@pytest.mark.parametrize("where", ["empty", "checkout"])
def test_quantbento_has_one_for_each_of_its_tasks(folder, monkeypatch, task, where):
    if where == "checkout":
        monkeypatch.chdir(ROOT)
    found = service_for(task)
    assert (found.folder, found.service.inner.served.task_name) == (ROOT, task)
    assert getattr(service, found.name).inner.__name__ == found.name
    assert found.target == f"service:{found.name}"
    assert found.settings is (GenerationSettings if task == "text-generation" else ServiceSettings)


def test_the_folders_own_is_taken_with_its_settings(folder):
    write_own("my_tasks:Ranking")
    found = service_for("my_tasks:Ranking")
    assert (found.folder, found.target) == (folder, "service:Mine")
    assert found.settings.model_fields.keys() - ServiceSettings.model_fields.keys() == {"most"}
    assert service_for("tensor").folder == ROOT
    write_own("tensor")
    assert service_for("tensor").folder == folder


def test_looking_leaves_nothing_behind(folder):
    before, paths = dict(SERVICES), list(sys.path)
    write_own("tensor")
    service_for("tensor")
    assert (SERVICES, sys.path, sys.modules["service"]) == (before, paths, service)


def test_without_a_service_it_says_how_to_write_one(folder):
    with pytest.raises(QuantbentoError, match=f"^no service for the task 'a:B' here, .* no service.py in {folder}"):
        service_for("a:B")
    write_own("tensor")
    with pytest.raises(QuantbentoError, match=f"^no service for the task 'a:B' in {folder}/service.py. A service"):
        service_for("a:B")


def test_a_file_that_cannot_be_imported_is_named(folder):
    Path("service.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(QuantbentoError, match=f"^{folder}/service.py cannot be imported: ModuleNotFoundError"):
        service_for("tensor")
    assert sys.modules["service"] is service
