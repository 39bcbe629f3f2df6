"""The engine runs as it was judged, except where it is told otherwise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from quantbento.serving.generation.nodes import NodeSettings
from quantbento.serving.generation.settings import GenerationSettings

JUDGED = {"max_model_len": 512, "dtype": "bfloat16"}


def test_what_was_judged_is_served():
    assert GenerationSettings().engine(JUDGED) == NodeSettings(max_model_len=512, dtype="bfloat16")


def test_what_is_given_wins(monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_MODEL_LEN", "256")
    settings = GenerationSettings(kv_cache_gib="0.5")
    assert settings.engine(JUDGED) == NodeSettings(max_model_len=256, dtype="bfloat16", kv_cache_gib=0.5)


def test_two_that_do_not_go_together_are_an_error():
    with pytest.raises(ValueError, match="kv_cache_gib or gpu_memory_utilization"):
        GenerationSettings(kv_cache_gib="1").engine({"gpu_memory_utilization": 0.5})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_modl_len": "3"}, "did you mean 'max_model_len'"),
        ({"gpu_memory_utilization": "2"}, "gpu_memory_utilization"),
        ({"max_tokens": "0"}, "max_tokens"),
        ({"gpu": "1", "tensor_parallel_size": "2"}, "needs as many GPUs, not gpu=1"),
    ],
    ids=["misspelt", "too much", "none", "too few GPUs"],
)
def test_a_wrong_setting_is_named(given, said):
    with pytest.raises(ValidationError, match=said):
        GenerationSettings(**given)


def test_a_setting_of_services_that_batch_is_refused():
    with pytest.raises(ValidationError, match="'max_batch_size' is not one of this service's"):
        GenerationSettings(max_batch_size="8")


def test_a_gpu_is_asked_for_only_when_set():
    assert "gpu" not in GenerationSettings().service_config()["resources"]
    resources = GenerationSettings(gpu=2, gpu_type="nvidia-l4", tensor_parallel_size=2).service_config()["resources"]
    assert (resources["gpu"], resources["gpu_type"]) == (2, "nvidia-l4")
