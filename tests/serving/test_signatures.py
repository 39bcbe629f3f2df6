"""Services that ask for signatures load nothing that a trusted key did not sign."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pydantic import ValidationError

import service  # noqa: F401 - so that its services are known
from quantbento import store
from quantbento.serving.errors import CannotServe
from quantbento.serving.generation import model as generation
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings
from quantbento.store import signing
from tests.serving.stored import save_stand_in
from tests.store.test_models import write_artifact
from tests.tampered_models import TAMPERED, Stored, trapped


@pytest.fixture
def stored(tmp_path, bento_home) -> Stored:
    return trapped(tmp_path)


def served(stored: Stored, **settings) -> ServedModel:
    settings = {"trusted_keys": str(stored.trusted)} | settings
    return ServedModel(ServiceSettings(model=stored.model.tag, threads=1, **settings), "tensor")


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.values(), ids=TAMPERED)
def test_it_is_refused_before_a_worker_starts_and_in_a_worker(stored, tamper, said):
    stored.sign()
    tamper(stored)
    for start in (served(stored).preflight, served(stored).load):
        with pytest.raises(CannotServe, match=said):
            start()
    assert not stored.mark.exists()


def test_the_message_names_the_model_the_keys_and_the_command(stored):
    with pytest.raises(CannotServe) as refused:
        served(stored).preflight()
    assert f"{stored.model.tag} is not signed by a trusted key" in str(refused.value)
    assert f"Checked against: {stored.trusted}." in str(refused.value)
    assert f"quantbento sign {stored.model.tag} --key" in str(refused.value)


def test_a_signed_model_is_served(stored, tmp_path):
    plain = store.save("plain", write_artifact(tmp_path / "plain"), {}, {}, {})
    signing.sign(plain.path, plain.tag, stored.private)
    settings = ServiceSettings(model="plain", trusted_keys=f"{stored.foreign} , {stored.trusted}", threads=1)
    with pytest.raises(CannotServe, match="no public key"):
        ServedModel(settings, "tensor").preflight()
    foreign = stored.foreign.with_name("foreign.pub.pem")
    settings = ServiceSettings(model="plain", trusted_keys=f"{foreign} , {stored.trusted}", threads=1)
    serving = ServedModel(settings, "tensor")
    serving.preflight()
    assert serving.load().ready


def test_a_candidate_has_to_be_signed_too(stored, tmp_path):
    plain = store.save("plain", write_artifact(tmp_path / "plain"), {}, {}, {})
    signing.sign(plain.path, plain.tag, stored.private)
    settings = {"model": "plain", "trusted_keys": str(stored.trusted), "threads": 1}
    for candidate in ({"shadow": "trapped"}, {"canary": "trapped", "weight": 5}):
        serving = ServedModel(ServiceSettings(**settings, **candidate), "tensor")
        for start in (serving.preflight, serving.load):
            with pytest.raises(CannotServe, match=f"{stored.model.tag} is not signed"):
                start()
    with pytest.raises(CannotServe, match=f"{stored.model.tag} is not signed"):  # as an alias is followed
        ServedModel(ServiceSettings(**settings), "tensor").load_version(stored.model)
    assert not stored.mark.exists()


def test_a_language_models_engine_is_not_started(stored, tmp_path, monkeypatch, caplog):
    model = save_stand_in("llm", "text-generation", tmp_path / "llm", "transformers")
    killed = []
    monkeypatch.setattr(generation.os, "kill", lambda *given: killed.append(given))
    monkeypatch.setattr(generation, "_engine_of", lambda _: pytest.fail("an engine was chosen"))
    serving = ServedLanguageModel(GenerationSettings(model="llm", trusted_keys=str(stored.trusted)))
    with pytest.raises(CannotServe, match=f"{model.tag} is not signed"):
        serving.preflight()
    with caplog.at_level(logging.ERROR, "bentoml.serve"):
        asyncio.run(serving._run_or_end())
    assert killed
    assert f"llm cannot be served: {model.tag} is not signed by a trusted key" in caplog.text


def test_a_warning_is_one_line_and_the_model_is_loaded(stored, caplog):
    serving = served(stored, signatures="warn")
    serving.preflight()
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "bentoml.serve"):
        serving.load()
    [warning] = [record for record in caplog.records if "not signed" in record.getMessage()]
    assert "\n" not in warning.getMessage()
    assert stored.mark.exists()


def test_a_key_that_is_not_there_is_no_warning(stored):
    with pytest.raises(CannotServe, match="gone cannot be read"):
        served(stored, trusted_keys="gone", signatures="warn").load()
    assert not stored.mark.exists()


def test_keys_alone_require_a_signature_and_off_is_off(stored):
    assert served(stored).settings.signature_rule == "require"
    assert ServiceSettings().signature_rule == "off"
    served(stored, signatures="off").preflight()


@pytest.mark.parametrize("rule", ["warn", "require"])
def test_without_keys_nothing_can_be_asked_for(rule):
    for kind in (ServiceSettings, GenerationSettings):
        with pytest.raises(ValidationError, match=f"signatures='{rule}' needs trusted_keys"):
            kind(signatures=rule, trusted_keys=" , ")


def test_wrong_settings_which_become_the_defaults_ask_for_no_less(stored, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_TRUSTED_KEYS", str(stored.trusted))
    monkeypatch.setenv("QUANTBENTO_MODEL", stored.model.tag)
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "none")
    with pytest.raises(CannotServe, match="'max_items'"):
        ServedModel(ServiceSettings.of({}), "tensor").load()
    assert not stored.mark.exists()
