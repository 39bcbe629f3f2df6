"""What is pulled is what was pushed, byte for byte, however it travels."""

from __future__ import annotations

import httpx
import pytest

from examples.server import bento, serve
from quantbento import store
from quantbento.cli import main
from quantbento.store import manifest
from tests.packing.registry.machine import Machine

TRANSMISSIONS = ("proxy", "presigned", "multipart")


@pytest.mark.parametrize("transmission", TRANSMISSIONS)
def test_what_is_pulled_is_what_was_pushed(packed, here, elsewhere, small_chunks, transmission, registry):
    here.push_bento(packed.bento)  # and its model
    elsewhere.pull_bento(packed.bento)
    elsewhere.pull_model(packed.model)
    assert elsewhere.bento(packed.bento) == here.bento(packed.bento)
    assert elsewhere.model(packed.model) == here.model(packed.model)
    assert len(elsewhere.model(packed.model)) >= 6
    parts = len(registry.uploads())
    assert parts > 6 if transmission == "multipart" else parts == 2


def test_a_pulled_model_verifies_and_answers(packed, here, elsewhere, capsys):
    here.push_model(packed.model)
    elsewhere.pull_model(packed.model)
    with elsewhere.here():
        found = store.find("demo")
        assert found.tag == packed.model == f"demo:{manifest.version_of((found.path / 'manifest.json').read_bytes())}"
        assert main(["verify", packed.model]) == 0
        assert f"ok       {packed.model}" in capsys.readouterr().out
        assert store.load(packed.model, threads=1)([[1, 2, 3]])[0].tolist() == [1, 2, 3]


def test_a_model_that_was_deleted_is_pulled_again(packed, here, elsewhere):
    here.push_model(packed.model)
    for _ in range(2):
        elsewhere.pull_model(packed.model)
        assert elsewhere.model(packed.model) == here.model(packed.model)
        with elsewhere.here():
            store.delete(packed.model)
        assert elsewhere.models() == {}


def test_a_second_push_sends_nothing(packed, here, registry):
    here.push_bento(packed.bento)
    first = registry.uploads()
    here.push_bento(packed.bento)
    here.push_model(packed.model)
    assert registry.uploads() == first
    assert len(first) == 2


def test_without_a_version_the_newest_is_pulled(packed, here, elsewhere):
    for tag in (packed.older_model, packed.model):
        here.push_model(tag)
    elsewhere.pull_model("demo")
    assert elsewhere.model(packed.model) == here.model(packed.model)


def test_without_a_version_nothing_is_pulled_where_any_is_stored(packed, here, elsewhere):
    """Not what one would wish, but docs/registry.md says so."""
    here.push_model(packed.older_model)
    elsewhere.pull_model("demo")
    here.push_model(packed.model)
    elsewhere.pull_model("demo")
    with elsewhere.here():
        assert [model.tag for model in store.models()] == [packed.older_model]


@pytest.mark.slow
@pytest.mark.server
def test_the_commands_users_type_end_in_a_served_bento(packed, registry, elsewhere, tmp_path):
    makers = Machine(packed.home)
    login = makers.bentoml("cloud", "login", "--endpoint", registry.url, "--api-token", registry.token)
    assert login.returncode == 0, login.stderr
    try:
        push = makers.bentoml("push", packed.bento)
        assert push.returncode == 0, push.stderr
    finally:
        (packed.home / ".yatai.yaml").unlink()
    pull = elsewhere.bentoml("pull", packed.bento)
    assert pull.returncode == 0, pull.stderr
    assert elsewhere.bento(packed.bento) == makers.bento(packed.bento)
    assert elsewhere.models() == {}

    logged_out = Machine(elsewhere.home)
    with (
        pytest.raises(RuntimeError, match=f"Model {packed.model} could not be found locally"),
        serve(bento(packed.bento), logged_out.environment, tmp_path / "refused.log"),
    ):
        pass

    # With credentials, BentoML fetches the model before it serves.
    with serve(bento(packed.bento), elsewhere.environment, tmp_path / "server.log") as server:
        answer = httpx.post(f"{server.url}/predict", json={"inputs": [[1, 2, 3]]})
    assert answer.json() == [[1, 2, 3]]
    assert elsewhere.model(packed.model) == makers.model(packed.model)


@pytest.mark.slow
def test_a_bento_is_pulled_with_its_models_when_asked(packed, here, elsewhere):
    here.push_bento(packed.bento)
    pull = elsewhere.bentoml("pull", packed.bento, "--with-models")
    assert pull.returncode == 0, pull.stderr
    assert elsewhere.bento(packed.bento) == here.bento(packed.bento)
    assert elsewhere.model(packed.model) == here.model(packed.model)
