"""What cannot be served ends `bentoml serve` with one message, exit code 1 and no traceback."""

from __future__ import annotations

import os
import subprocess

import httpx
import pytest

from examples.server import bento, serve
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.server]

ENCODER = "tiny-encoder-onnx-int8"
MISTAKES = {
    "a wrong value": ("Embedding", {"max_items": "0"}, {}, "setting 'max_items': "),
    "a misspelt setting": ("Embedding", {"max_itms": "3"}, {}, "did you mean 'max_items'?"),
    "a misspelt variable": ("TensorModel", {}, {"QUANTBENTO_MODLE": "x"}, "did you mean 'QUANTBENTO_MODEL'?"),
    "another service's setting": ("TensorModel", {"max_model_len": "64"}, {}, "'max_model_len' is not one of this"),
    "a setting of services that batch": ("TextGeneration", {"max_items": "3"}, {}, "'max_items' is not one of this"),
    "a model for another task": ("TextGeneration", {"model": ENCODER}, {}, f"service:Embedding --arg model={ENCODER}:"),
    "a missing model": ("TextGeneration", {"model": "tiny-encoder"}, {}, f"did you mean '{ENCODER}'?"),
    "no model's name": ("Embedding", {"model": "Not/a name"}, {}, "no model 'not/a name' in the store"),
}


@pytest.mark.parametrize(("service", "arguments", "variables", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_1(served_home, service, arguments, variables, said):
    command = [part.format(port=0) for part in bento(f"service:{service}")]
    command += [part for name, value in arguments.items() for part in ("--arg", f"{name}={value}")]
    environment = {**os.environ, "BENTOML_HOME": str(served_home), **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count(said) == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_missing_model_ends_the_server_with_one_message(served_home, tmp_path_factory):
    environment = {"BENTOML_HOME": str(served_home), "QUANTBENTO_MODEL": "tiny-encoder-onnx-int4"}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with (
        pytest.raises(RuntimeError, match="did you mean 'tiny-encoder-onnx-int8'") as raised,
        serve(bento("service:Embedding"), environment, log),
    ):
        pass
    assert "Traceback" not in str(raised.value)


def test_one_services_wrong_setting_is_nothing_to_another(served_home, tmp_path):
    """All of them are in one module, which the one that runs imports. TextGeneration has no `workers`."""
    given = {"BENTOML_HOME": str(served_home), "QUANTBENTO_MODEL": ENCODER, "QUANTBENTO_WORKERS": "1"}
    with serve(bento("service:Embedding"), given, tmp_path / "server.log") as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_wrong_settings_build_no_bento(served_home):
    command = ["build", "-f", "configs/bentos/minilm.yaml", "--arg", f"model={ENCODER}", "--arg", "max_items=0", "."]
    environment = {**os.environ, "BENTOML_HOME": str(served_home)}
    before = set((served_home / "bentos").rglob("*"))
    done = subprocess.run([*bento()[:3], *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "setting 'max_items': " in done.stderr
    assert set((served_home / "bentos").rglob("*")) == before
