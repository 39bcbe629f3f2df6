"""`quantbento serve`: the service that fits, all that is wrong at once, and the command that runs."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.serving import command as command_module
from quantbento.serving import served
from quantbento.serving.command import serve_command
from quantbento.serving.services import service_for
from quantbento.store import aliases
from tests.conftest import ROOT
from tests.serving.stored import save_stand_in
from tests.serving.test_services import write_own

PAIRS = [
    (task, runtime)
    for task in registry.TASKS
    for runtime in registry.RUNTIMES
    if registry.runs(registry.runtime(runtime), registry.task(task))
]


@pytest.fixture
def folder(tmp_path, bento_home, monkeypatch):
    """An empty folder, and an empty store."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    yield tmp_path
    sys.modules.pop("my_limits", None)


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize(("task", "runtime"), PAIRS)
@pytest.mark.parametrize("where", ["empty", "checkout"])
def test_every_task_and_runtime_has_its_service(folder, port, monkeypatch, task, runtime, where):
    if where == "checkout":
        monkeypatch.chdir(ROOT)
    monkeypatch.setattr(served, "missing_packages", lambda names: [])
    stored = save_stand_in("mine", task, folder / "a", runtime)
    command = serve_command("mine", {"timeout_seconds": "7"}, "127.0.0.1", port)
    assert (command.tag, command.task, command.runtime) == (stored.tag, task, runtime)
    target = service_for(task).target
    assert command.arguments == [
        *("bentoml", "serve", target, *(("--working-dir", str(ROOT)) if where == "empty" else ())),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--arg", f"model={stored.tag}", "--arg", "timeout_seconds=7"),
    ]


def test_the_folders_own_service_serves_with_its_own_settings(folder, port):
    write_own("tensor")
    save_stand_in("mine", "tensor", folder / "a")
    command = serve_command(None, {"most": "5"}, "127.0.0.1", port)
    assert command.arguments[2] == "service:Mine"
    assert "--working-dir" not in command.arguments
    with pytest.raises(QuantbentoError, match="setting 'msot' is not one of this service's; did you mean 'most'"):
        serve_command(None, {"msot": "5"}, "127.0.0.1", port)


def test_code_of_the_folder_is_importable_where_the_service_runs_elsewhere(folder, port, monkeypatch):
    save_stand_in("mine", "tensor", folder / "a")
    assert serve_command(None, {}, "127.0.0.1", port).environment["PYTHONPATH"] == str(Path.cwd())
    monkeypatch.setenv("PYTHONPATH", "more")
    assert serve_command(None, {}, "127.0.0.1", port).environment["PYTHONPATH"] == f"{Path.cwd()}{os.pathsep}more"


def test_everything_that_is_wrong_comes_in_one_message(folder, monkeypatch):
    stored = save_stand_in("mine", "tensor", folder / "a", "torch")
    monkeypatch.setattr(served, "missing_packages", list)
    with socket.socket() as taken, pytest.raises(QuantbentoError) as raised:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        serve_command("mine", {"max_items": "0", "max_batch_size": "1"}, "127.0.0.1", taken.getsockname()[1])
    first, *problems = str(raised.value).splitlines()
    assert first == f"{stored.tag} cannot be served:"
    items, batch, package, port = problems
    assert items.startswith("  - setting 'max_items': ") and items.endswith("not '0'")
    assert batch.startswith("  - setting 'max_batch_size': ")
    assert package.endswith("needs the package 'torch', which is not installed; run: pip install 'quantbento[torch]'")
    assert "127.0.0.1: address already in use; choose another, for example --port " in port


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 65536, "port 65536: allowed are 1 to 65535"),
        ("127.0.0.1", 0, "port 0: allowed are 1 to 65535"),
        ("192.0.2.1", 3000, "port 3000 of 192.0.2.1: cannot assign requested address"),
    ],
    ids=["too high", "none", "another machine's"],
)
def test_an_address_that_cannot_be_listened_at_is_refused(folder, host, port, said):
    save_stand_in("mine", "tensor", folder / "a")
    with pytest.raises(QuantbentoError, match=said):
        serve_command("mine", {}, host, port)


def test_a_free_port_is_told_in_place_of_a_taken_one(folder):
    save_stand_in("mine", "tensor", folder / "a")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(QuantbentoError) as raised:
            serve_command("mine", {}, "127.0.0.1", number)
        before, _, free = str(raised.value).partition("; choose another, for example --port ")
        assert before.endswith(f"port {number} of 127.0.0.1: address already in use")
        assert serve_command("mine", {}, "127.0.0.1", int(free)).tag


def test_a_model_that_is_not_there_is_told_with_the_nearest(folder, port):
    save_stand_in("moons-int8", "tensor", folder / "a")
    with pytest.raises(StoreError, match="no model 'moon-int8' in the store; did you mean 'moons-int8'"):
        serve_command("moon-int8", {}, "127.0.0.1", port)


def test_a_model_that_failed_its_gates_is_served_and_said_so(folder, port):
    gate = {"metric": "accuracy", "rule": "max_drop", "limit": 0.01, "value": 0.2, "passed": False}
    variant = {"scheme": "int8-dynamic", "passed": False, "gates": [gate]}
    save_stand_in("mine", "tensor", folder / "a", variant=variant)
    [failed] = serve_command("mine", {}, "127.0.0.1", port).failed_gates
    assert "accuracy" in failed
    save_stand_in("good", "tensor", folder / "b")
    assert serve_command("good", {}, "127.0.0.1", port).failed_gates == []


def test_it_becomes_bentomls_process(folder, port, monkeypatch):
    save_stand_in("mine", "tensor", folder / "a")
    became: list[tuple] = []
    monkeypatch.setattr(command_module.os, "execve", lambda *arguments: became.append(arguments))
    command = serve_command("mine", {}, "127.0.0.1", port)
    command.run()
    assert became == [(sys.executable, [sys.executable, "-m", *command.arguments], command.environment)]


def test_public_keys_are_named_from_the_current_folder(folder, port):
    """The service's working directory is another one."""
    save_stand_in("mine", "tensor", folder / "a")
    command = serve_command("mine", {"trusted_keys": "a.pub.pem, /b.pub.pem,"}, "127.0.0.1", port)
    assert f"trusted_keys={Path.cwd()}/a.pub.pem,/b.pub.pem" in command.arguments


def test_a_setting_that_names_a_file_does_so_from_here(folder, port):
    """The working directory of the process is the service's."""
    tag = save_stand_in("encoder", "feature-extraction", folder / "artifact").tag
    arguments = serve_command(tag, {"api_keys_file": "keys"}, "127.0.0.1", port).arguments
    assert f"api_keys_file={folder / 'empty' / 'keys'}" in arguments


@pytest.mark.parametrize(
    ("given", "named"), [({}, None), ({"follow": "true"}, "mine:production"), ({"follow": "no"}, None)]
)
def test_a_service_that_follows_is_given_the_alias(folder, port, given, named):
    stored = save_stand_in("mine", "tensor", folder / "a")
    aliases.promote("mine", "production")
    command = serve_command("mine:production", given, "127.0.0.1", port)
    assert f"model={named or stored.tag}" in command.arguments
