"""Gates on speculative decoding are judged on what was measured of it."""

from __future__ import annotations

import math

from quantbento.judging.decoding_gates import NAMES, NOT_ASKED, gated
from quantbento.judging.gates import judge
from quantbento.recipe.gates import Gates
from tests.judging.test_decoding import compared, observed

ALL = Gates(
    min={name: 0.5 for name in NAMES if name != "decoding.first_token_ms"}, max={"decoding.first_token_ms": 150}
)


def results(metrics: dict[str, float]) -> dict[str, bool]:
    found = judge(ALL, metrics, {}, {}, speedup=math.inf, size_ratio=1.0)
    return {result.metric: result.passed for result in found}


def test_what_was_measured_is_what_gates_compare():
    guesses = {
        "spec_decode_num_drafts": 10.0,
        "spec_decode_num_draft_tokens": 40.0,
        "spec_decode_num_accepted_tokens": 10.0,
    }
    found = compared(observed([[1, 2], [3, 4]], 1.0, guesses=guesses), observed([[1, 2], [3, 4]], 2.0))
    assert gated(found) == {
        "decoding.speedup": 2.0,
        "decoding.same_texts": 1.0,
        "decoding.acceptance_rate": 0.25,
        "decoding.tokens_per_pass": 2.0,
        "decoding.first_token_ms": 100.0,
    }
    failed = {name for name, passed in results(gated(found)).items() if not passed}
    assert failed == {"decoding.acceptance_rate", "decoding.prefix_hit_rate"}  # too few, and not measured


def test_without_measuring_all_fail_and_where_speed_is_not_asked_about_all_pass():
    assert gated(None) == {}
    assert not any(results({}).values())
    assert all(results(NOT_ASKED).values())
    assert NOT_ASKED.keys() == set(NAMES)
