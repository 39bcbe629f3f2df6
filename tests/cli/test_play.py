"""`quantbento play` as a user runs it."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import psutil
import pytest

from examples.server import free_port, serve
from quantbento import cli

QUANTBENTO = [sys.executable, "-m", "quantbento.cli"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "b", "c"], "error: 3 models"),
        (["a", "--arg", "x"], "error: 'x' is no setting"),
        (["a", "--arg", "model=b"], "error: 'model=b' is no setting"),
        (["a", "--port", "99999"], "error: port 99999: allowed are 1 to 65535"),
        (["a"], "error: no model 'a' in the store"),
    ],
)
def test_a_mistake_is_one_message(bento_home, capsys, words, told):
    assert cli.main(["play", *words]) == 2
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.slow
@pytest.mark.server
def test_two_models_answer_behind_one_page_and_end_with_it(served_home, tmp_path):
    tags = ["tiny-tensor-onnx-int8", "tiny-tensor-onnx-int8"]
    command = [*QUANTBENTO, "play", *tags, "--port", "{port}"]
    with serve(command, {"BENTOML_HOME": str(served_home)}, tmp_path / "log", 180, probe="/") as page:
        for letter in "ab":
            answer = httpx.post(f"{page.url}/{letter}/predict", json={"inputs": [[1, 2, 3, 4]]}, timeout=30)
            assert answer.status_code == 200
            assert httpx.get(f"{page.url}/{letter}/info").json()["task"] == "tensor"
        started = psutil.Process(page.process.pid).children(recursive=True)
        page.process.send_signal(signal.SIGTERM)
        assert page.process.wait(60) == 0
        assert not [process for process in started if process.is_running()]


@pytest.mark.slow
@pytest.mark.server
def test_a_model_that_does_not_start_ends_the_command_with_why(served_home, tmp_path):
    file = tmp_path / "keys"
    file.write_text("no key file\n")
    command = [
        *QUANTBENTO,
        "play",
        "tiny-tensor-onnx-int8",
        "--port",
        str(free_port()),
        "--arg",
        f"api_keys_file={file}",
    ]
    done = subprocess.run(command, env={"BENTOML_HOME": str(served_home)}, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
