"""`module:function` finds the user's own code, and says what is wrong with it."""

from __future__ import annotations

import importlib
import re
import sys

import pytest
from pydantic import BaseModel, ValidationError

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError

SOURCE = """
import sys
from quantbento.core.errors import QuantbentoError
NUMBER = 3
def model(): return "made"
def model_that_fails(): raise ValueError("no data")
def model_that_explains(): raise QuantbentoError("the file is too old")
def late_import():
    import {name}_beside
    return {name}_beside.VALUE
"""


@pytest.fixture
def project(tmp_path, monkeypatch, request):
    """The name of a module in the working folder, which is not on the import path."""
    name = re.sub(r"\W", "_", f"own_{request.node.name}")
    (tmp_path / f"{name}.py").write_text(SOURCE.format(name=name))
    (tmp_path / f"{name}_beside.py").write_text("VALUE = 7")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    importlib.invalidate_caches()
    yield name
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


def test_the_working_folder_is_importable_and_only_while_it_is_needed(project):
    before = list(sys.path)
    assert user_code.call(f"{project}:model") == "made"
    assert user_code.call(f"{project}:late_import") == 7
    assert user_code.resolve(f"{project}:NUMBER") == 3
    assert sys.path == before


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("modle", r"has no 'modle'; did you mean 'model'\?"),
        ("NUMBER", "is a int, not a function"),
        ("model_that_fails", "failed: ValueError: no data"),
        ("model_that_explains", "^the file is too old$"),
    ],
)
def test_what_is_wrong_is_said_with_the_reference(project, attribute, message):
    with pytest.raises(QuantbentoError, match=message):
        user_code.call(f"{project}:{attribute}")


def test_a_missing_module_says_where_it_was_looked_for(project):
    for find in (user_code.resolve, user_code.identity):
        with pytest.raises(QuantbentoError, match=r"no module named 'not_there'; run from the folder that holds it"):
            find("not_there:model")
    with pytest.raises(QuantbentoError, match=r"no module named 'not_there\.deeper'"):
        user_code.identity("not_there.deeper:model")


def test_a_module_that_fails_to_import_is_reported(project, tmp_path):
    package = tmp_path / f"{project}_broken"
    package.mkdir()
    (package / "__init__.py").write_text("1 / 0")
    importlib.invalidate_caches()
    for find in (user_code.resolve, user_code.identity):
        with pytest.raises(QuantbentoError, match=rf"importing {package.name}.models failed: ZeroDivisionError"):
            find(f"{package.name}.models:model")


def test_identity_follows_the_source_and_imports_nothing(project, tmp_path):
    path, reference = tmp_path / f"{project}.py", f"{project}:model"
    first = user_code.identity(reference)
    assert first["factory"] == reference
    assert user_code.identity(reference) == first
    path.write_text(path.read_text() + "\n# changed")
    assert user_code.identity(reference)["sha256"] != first["sha256"]
    assert project not in sys.modules


class Options(BaseModel):
    train: user_code.UserCode
    more: dict[str, list[user_code.UserCode]] = {}
    text: str = "not:code"


def test_functions_named_in_options_are_found_however_deep():
    options = Options(train="a.b:c", more={"x": ["d:e", "f:g"]})
    assert user_code.named_in(options) == ["a.b:c", "d:e", "f:g"]
    assert user_code.named_in([{"options": options}, "h:i"]) == ["a.b:c", "d:e", "f:g"]
    assert options.model_dump(mode="json") == {"train": "a.b:c", "more": {"x": ["d:e", "f:g"]}, "text": "not:code"}


@pytest.mark.parametrize("wrong", ["no-colon", "a:", ":b", "a:b:c", "1a:b", "a b:c"])
def test_what_is_no_reference_is_refused(wrong):
    with pytest.raises(ValidationError, match="should match pattern"):
        Options(train=wrong)
