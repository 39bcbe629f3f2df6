"""Settings come from arguments and the environment, are checked, and become BentoML's configuration."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from quantbento.serving import settings as settings_module
from quantbento.serving.errors import CannotServe
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MODEL", "from-environment")
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "5")
    settings = ServiceSettings(model="from-argument")
    assert (settings.model, settings.max_items) == ("from-argument", 5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_itms": "3"}, "did you mean 'max_items'"),
        ({"max_items": "0"}, "max_items"),
        ({"max_batch_size": "1"}, "max_batch_size"),
        ({"timeout_seconds": "soon"}, "timeout_seconds"),
        ({"gpu_type": "nvidia-l4"}, "needs gpu=1"),
        ({"device": "gpu"}, "allowed: auto, cpu, cuda"),
        ({"gpu": "1", "device": "cpu"}, "leave one of them out"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_named(given, said):
    with pytest.raises(ValidationError, match=said):
        ServiceSettings(**given)


@pytest.mark.parametrize(
    ("given", "device"),
    [({}, "auto"), ({"gpu": 1}, "cuda"), ({"gpu": 1, "device": "cuda:1"}, "cuda:1"), ({"device": "xpu"}, "xpu")],
)
def test_a_service_that_is_given_a_gpu_uses_it(given, device):
    assert ServiceSettings(**given).wanted_device == device
    assert GenerationSettings(gpu=1).wanted_device == "cuda"


def test_a_misspelt_environment_variable_is_not_ignored(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MODLE", "x")
    with pytest.raises(ValidationError, match="did you mean 'QUANTBENTO_MODEL'"):
        ServiceSettings()


def test_another_services_setting_is_refused_by_the_service_that_runs(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_MODEL_LEN", "512")
    settings = ServiceSettings.read()
    with pytest.raises(CannotServe, match="'max_model_len' is not one of this service's"):
        ServedModel(settings, "tensor", "unused").preflight()
    assert settings.model_dump() == ServiceSettings.model_construct().model_dump()
    assert GenerationSettings.read().max_model_len == 512
    monkeypatch.delenv("QUANTBENTO_MAX_MODEL_LEN")
    assert ServiceSettings.read().problem is None


def test_every_wrong_setting_is_told_with_its_value(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "0")
    monkeypatch.setenv("QUANTBENTO_TIMEOUT_SECONDS", "soon")
    said = ServiceSettings.read().problem.splitlines()
    assert len(said) == 2
    assert any("'max_items'" in line and line.endswith("not '0'") for line in said)
    assert any("'timeout_seconds'" in line and line.endswith("not 'soon'") for line in said)


def test_arguments_of_the_command_line_are_read(monkeypatch):
    given = {"max_items": "3", "max_itms": "3"}
    monkeypatch.setattr(settings_module.bentoml, "use_arguments", lambda: SimpleNamespace(**given))
    assert "'max_itms' is not one of this service's; did you mean 'max_items'?" in ServiceSettings.read().problem
    del given["max_itms"]
    assert (ServiceSettings.read().max_items, ServiceSettings.read().problem) == (3, None)


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "")
    monkeypatch.setenv("QUANTBENTO_MAX_MODEL_LEN", "")
    assert ServiceSettings() == ServiceSettings.model_construct()


def test_a_gpu_is_asked_for_only_when_set():
    assert "gpu" not in ServiceSettings().service_config()["resources"]
    resources = ServiceSettings(gpu=2, gpu_type="nvidia-l4").service_config()["resources"]
    assert (resources["gpu"], resources["gpu_type"]) == (2, "nvidia-l4")


def test_bentoml_accepts_the_configuration():
    from _bentoml_sdk.service.config import validate

    config = ServiceSettings(gpu=1, timeout_seconds=7).service_config()
    assert validate(config)["traffic"]["timeout"] == 7
    assert set(validate(config)) == set(config)  # a key BentoML does not know would be dropped in silence


def test_the_cache_of_quantizers_is_no_setting(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_CACHE", "somewhere")
    assert ServiceSettings().model is None


def test_given_settings_are_checked_as_those_of_the_command_line_are():
    given = ServiceSettings.of({"model": "mine", "max_items": "3"})
    assert (given.model, given.max_items, given.problem) == ("mine", 3, None)
    assert "'max_itms' is not one of this service's" in ServiceSettings.of({"max_itms": "3"}).problem


def test_open_paths_are_paths_and_go_with_keys(tmp_path):
    settings = ServiceSettings(api_keys_file=tmp_path / "keys", open_paths="/info, /static_content/,")
    assert settings.paths_without_key == ("/info", "/static_content/")
    assert ServiceSettings(api_keys_file=tmp_path / "keys").paths_without_key == ("/metrics",)
    assert "needs api_keys_file" in ServiceSettings.of({"open_paths": "/info"}).problem
    assert "'info' is no path" in ServiceSettings.of({"open_paths": "info", "api_keys_file": "keys"}).problem
