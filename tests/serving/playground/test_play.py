"""What `quantbento play` refuses before it starts anything."""

from __future__ import annotations

import socket

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.serving import served
from quantbento.serving.command import free_port
from quantbento.serving.playground.play import check
from tests.serving.stored import save_stand_in


@pytest.fixture
def stored(tmp_path, bento_home, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr(served, "missing_packages", lambda names: [])
    for name, task in {"one": "tensor", "two": "tensor", "texts": "text-classification"}.items():
        save_stand_in(name, task, tmp_path / name)


def test_each_model_has_a_service_at_a_port_of_its_own(stored):
    commands = check(["one", "two"], {"max_items": "3"}, free_port())
    assert [command.tag.partition(":")[0] for command in commands] == ["one", "two"]
    for command in commands:
        assert command.arguments[command.arguments.index("--host") + 1] == "127.0.0.1"
        assert "max_items=3" in command.arguments


@pytest.mark.parametrize(
    ("tags", "given", "told"),
    [
        (["one", "texts"], {}, "answers can be compared only of models for one task. See: quantbento models"),
        (["one", "two", "one"], {}, "3 models: one is tried, or two are compared"),
        (["one", "none"], {}, "no model 'none' in the store"),
        (["one"], {"max_item": "3"}, "did you mean 'max_items'?"),
    ],
    ids=["two tasks", "three", "not stored", "setting"],
)
def test_what_is_wrong_is_told_before_anything_starts(stored, tags, given, told):
    with pytest.raises(QuantbentoError) as error:
        check(tags, given, free_port())
    assert told in str(error.value)


def test_a_port_that_is_taken_is_told_with_another(stored):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(QuantbentoError, match=f"port {port} of 127.0.0.1: address already in use; choose another"):
            check(["one"], {}, port)
