"""A real server that asks for API keys: OpenAI's client gets in with one, and the log never shows it."""

from __future__ import annotations

import os
import subprocess
import time

import httpx
import openai
import pytest

from examples.server import bento
from quantbento.serving import key_file
from tests.conftest import ROOT
from tests.stored_texts import server_of

pytestmark = [pytest.mark.slow, pytest.mark.server]
MODEL = "tiny-encoder-onnx-int8"


@pytest.fixture
def keys(tmp_path) -> dict[str, str]:
    return {name: key_file.add(tmp_path / "keys", name) for name in ("ada", "bob")}


def test_only_who_has_a_key_is_answered_and_a_removed_one_is_refused_soon(served_home, tmp_path, keys):
    with server_of("Embedding", MODEL, served_home, tmp_path, api_keys_file=tmp_path / "keys") as server:

        def embed(key: str) -> int:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
            return len(client.embeddings.create(model=MODEL, input="the film").data[0].embedding)

        assert embed(keys["ada"]) == embed(keys["bob"]) == 32
        with pytest.raises(openai.AuthenticationError, match="API key is not valid"):
            embed("unused")
        closed = ["/docs", "/docs.json", "/info", "/encode", "/v1/models", "/no-such-path"]
        assert {httpx.get(server.url + path).status_code for path in closed} == {401}
        for path in ("/livez", "/readyz", "/metrics", "/"):  # the page itself asks with the key that it is given
            assert httpx.get(server.url + path).status_code == 200
        large = httpx.post(f"{server.url}/encode", content=b" " * 1_000_000)
        assert (large.status_code, large.headers["www-authenticate"]) == (401, "Bearer")
        key_file.remove(tmp_path / "keys", "bob")
        new = key_file.add(tmp_path / "keys", "eve")
        time.sleep(1.1)
        assert embed(new) == embed(keys["ada"]) == 32
        with pytest.raises(openai.AuthenticationError):
            embed(keys["bob"])
        metrics = httpx.get(f"{server.url}/metrics").text
    shown = metrics + (tmp_path / "Embedding.log").read_text()
    assert 'http_response_code="401"' in metrics
    assert not any(key in shown for key in (*keys.values(), new, "unused"))


def test_metrics_are_closed_where_the_setting_says_so(served_home, tmp_path, keys):
    given = {"api_keys_file": tmp_path / "keys", "open_paths": "/info,/,/docs.json,/static_content/"}
    with server_of("Embedding", MODEL, served_home, tmp_path, **given) as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        assert httpx.get(f"{server.url}/metrics", headers={"x-api-key": keys["ada"]}).status_code == 200
        for path in ("/info", "/", "/docs.json", "/static_content/swagger-ui.css"):
            assert httpx.get(server.url + path).status_code == 200


def test_without_its_file_a_service_does_not_start_and_says_why(served_home, tmp_path):
    environment = {"BENTOML_HOME": str(served_home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": MODEL}
    environment["QUANTBENTO_API_KEYS_FILE"] = str(tmp_path / "missing")
    command = [part.format(port=3000) for part in bento()]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert f"{tmp_path / 'missing'}, a file of API keys, cannot be read: no such file" in told
    assert "Traceback" not in told
