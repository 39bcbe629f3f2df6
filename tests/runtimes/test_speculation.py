"""Settings of speculative decoding go together, and name the draft model inside the artifact."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from quantbento.runtimes.speculation import Speculation
from quantbento.runtimes.vllm_settings import EngineSettings

NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}
DRAFT = {"method": "draft_model", "num_speculative_tokens": 3, "model": "draft"}


def test_vllm_gets_what_was_set():
    settings = EngineSettings.model_validate({"speculative_config": NGRAM, "enable_prefix_caching": False})
    assert settings.arguments()["speculative_config"] == NGRAM
    line = settings.command_line()
    assert '{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}' in line
    assert "--no-enable-prefix-caching" in line


def test_the_draft_model_is_a_folder_of_the_artifact():
    settings = EngineSettings.model_validate({"speculative_config": DRAFT})
    assert settings.arguments(Path("/store/it"))["speculative_config"]["model"] == "/store/it/draft"


def test_services_are_given_json():
    settings = EngineSettings.model_validate({"speculative_config": '{"method": "ngram", "num_speculative_tokens": 2}'})
    assert settings.speculative_config == Speculation(method="ngram", num_speculative_tokens=2)
    with pytest.raises(ValidationError, match="must be JSON such as"):
        EngineSettings.model_validate({"speculative_config": "ngram"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**NGRAM, "model": "m"}, "model does not go with ngram"),
        ({"method": "eagle3", "num_speculative_tokens": 2}, "eagle3 needs model"),
        ({**DRAFT, "prompt_lookup_max": 2}, "are for ngram, not draft_model"),
        ({**NGRAM, "prompt_lookup_min": 4}, "prompt_lookup_min must be at most prompt_lookup_max"),
        ({"method": "medusa", "num_speculative_tokens": 2}, "'ngram', 'draft_model', 'eagle' or 'eagle3'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        Speculation.model_validate(given)


def test_only_what_changes_decoding_is_compared_with_a_plain_engine():
    assert EngineSettings.model_validate({"speculative_config": NGRAM}).decodes_otherwise
    assert EngineSettings(enable_prefix_caching=True).decodes_otherwise
    assert not EngineSettings(enable_prefix_caching=False).decodes_otherwise
