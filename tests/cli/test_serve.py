"""`quantbento serve` as a user runs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from examples.server import serve
from quantbento import cli, store
from quantbento.serving import command as command_module
from tests.conftest import model_store
from tests.serving.stored import save_stand_in

QUANTBENTO = [sys.executable, "-m", "quantbento.cli"]


@pytest.fixture
def became(tmp_path, bento_home, monkeypatch) -> list[list[str]]:
    """The commands that would have run; the store has `moons`, in an empty folder."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    save_stand_in("moons", "tensor", tmp_path / "a")
    commands: list[list[str]] = []
    monkeypatch.setattr(command_module.os, "execve", lambda program, arguments, environment: commands.append(arguments))
    return commands


@pytest.fixture
def port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def settings(command: list[str]) -> dict[str, str]:
    """Those that the command passes on, without the model."""
    pairs = [command[i + 1].split("=", 1) for i, part in enumerate(command) if part == "--arg"]
    return {name: value for name, value in pairs if name != "model"}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["moons"], {}),
        ([], {}),
        (["moons", "--max-batch-size", "32", "--threads=2"], {"max_batch_size": "32", "threads": "2"}),
        (["--max-items", "3", "moons"], {"max_items": "3"}),
        (["moons", "--arg", "max_items=3", "--arg", "workers=2"], {"max_items": "3", "workers": "2"}),
    ],
    ids=["tag", "the only one", "options", "options first", "arguments"],
)
def test_settings_by_name_or_as_bentoml_takes_them(became, port, capsys, words, given):
    assert cli.main(["serve", *words, "--port", port]) == 0
    [[python, *command]] = became
    assert (python, command[:3]) == (sys.executable, ["-m", "bentoml", "serve"])
    assert settings(command) == given
    said = capsys.readouterr()
    assert said.out.startswith(
        f"{store.find('moons').tag}: tensor on onnx, at http://127.0.0.1:{port}\n$ bentoml serve s"
    )
    assert said.err == ""


def test_settings_of_a_service_of_the_users_own(became, port):
    from tests.serving.test_services import write_own

    write_own("tensor")
    assert cli.main(["serve", "moons", "--port", port, "--most", "4"]) == 0
    assert settings(became[0]) == {"most": "4"}
    sys.modules.pop("my_limits", None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["moon"], "no model 'moon' in the store; did you mean 'moons'?"),
        (["moons", "--max-itms", "3"], "setting 'max_itms' is not one of this service's; did you mean 'max_items'?"),
        (["moons", "--max-tokens", "3"], "setting 'max_tokens' is not one of this service's"),
        (["moons", "--arg", "max_items"], "'max_items' is no setting; allowed: --arg name=value, and the model as TAG"),
        (["moons", "--arg", "model=x"], "'model=x' is no setting"),
        (["moons", "sun"], "'sun' is no setting with a value; allowed: --name value, after one TAG"),
        (["moons", "--most"], "'--most' is no setting with a value"),
    ],
    ids=["tag", "misspelt", "another service's", "no value", "model", "two tags", "option without value"],
)
def test_a_mistake_is_exit_code_2(became, port, capsys, words, said):
    assert cli.main(["serve", *words, "--port", port]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert became == []


def test_of_several_models_it_lists_the_commands(became, tmp_path, capsys):
    save_stand_in("sun", "feature-extraction", tmp_path / "b")
    assert cli.main(["serve"]) == 2
    assert capsys.readouterr().err == (
        "error: 2 models are stored; say which:\n"
        "  quantbento serve moons  # tensor on onnx\n"
        "  quantbento serve sun    # feature-extraction on onnx\n"
    )


def test_a_model_that_missed_its_gates_is_served_with_a_warning(became, tmp_path, port, capsys):
    stored = save_stand_in("bad", "tensor", tmp_path / "b", variant={"passed": False, "gates": []})
    assert cli.main(["serve", "bad", "--port", port]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {stored.tag} did not pass its gates: ")
    assert len(became) == 1


def test_its_help_names_every_setting(capsys):
    from quantbento.serving.generation.settings import GenerationSettings
    from quantbento.serving.settings import ServiceSettings

    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    said = capsys.readouterr().out
    names = {*ServiceSettings.model_fields, *GenerationSettings.model_fields} - {"model"}
    assert [name for name in names if f"--{name.replace('_', '-')} " not in said] == []


def test_other_commands_refuse_what_they_do_not_know(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["models", "--max-items", "3"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --max-items" in capsys.readouterr().err


def test_its_options_are_known_before_anything_heavy_is_imported():
    code = "import sys; from quantbento.cli import main\n"
    code += "try: main(['--help'])\nexcept SystemExit: print('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"bentoml", "pydantic", "yaml", "quantbento.serving.settings"} & set(
        done.stdout.rpartition("loaded ")[2].split()
    )


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(
    ("tag", "route", "body"),
    [
        ("tiny-encoder-onnx-int8", "/encode", {"texts": ["the film"]}),
        ("tiny-classifier-torch-int8", "/classify", {"texts": ["the film was good"]}),
        ("tiny-tensor-onnx-int8", "/predict", {"inputs": [[1, 2, 3, 4]]}),
    ],
)
def test_a_stored_model_is_served_by_its_tag_from_an_empty_folder(served_home, tmp_path, monkeypatch, tag, route, body):
    monkeypatch.chdir(tmp_path)
    command = [*QUANTBENTO, "serve", tag, "--port", "{port}", "--max-items", "1"]
    with serve(command, {"BENTOML_HOME": str(served_home)}, tmp_path / "server.log") as server:
        answer = httpx.post(f"{server.url}{route}", json=body)
        info = httpx.get(f"{server.url}/info").json()
        name = next(iter(body))
        refused = httpx.post(f"{server.url}{route}", json={name: body[name] * 2})
    with model_store(served_home):
        assert info["model"] == store.find(tag).tag
    assert answer.status_code == 200 and len(answer.json()) == 1
    assert refused.status_code == 400 and "at most 1 item" in refused.text


@pytest.mark.slow
@pytest.mark.server
def test_bentoml_serve_without_an_argument_serves_the_only_model_or_lists_all(served_home, tmp_path):
    """In the checkout, whose bentofile.yaml names the service."""
    from tests.conftest import ROOT

    command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "{port}"]
    given = {"BENTOML_HOME": str(served_home)}
    ended = subprocess.run(
        [part.format(port=0) for part in command], cwd=ROOT, env=os.environ | given, capture_output=True, text=True
    )
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert (
        "3 models are stored; say which:\n  quantbento serve tiny-classifier-torch-int8  # text-class" in ended.stderr
    )
    one = tmp_path / "bentoml" / "models" / "tiny-tensor-onnx-int8"
    one.parent.mkdir(parents=True)
    one.symlink_to(served_home / "models" / "tiny-tensor-onnx-int8")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        with serve(command, {"BENTOML_HOME": str(tmp_path / "bentoml")}, tmp_path / "server.log") as server:
            assert httpx.post(f"{server.url}/predict", json={"inputs": [[1, 2, 3, 4]]}).status_code == 200
    finally:
        os.chdir(before)
