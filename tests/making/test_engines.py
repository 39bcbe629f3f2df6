"""A variant's engine settings are added to the recipe's; full precision runs without those that are judged."""

from __future__ import annotations

import json

import pytest

from quantbento.making import engines
from quantbento.making.inspection import Inspection
from quantbento.making.resolve import resolve
from quantbento.recipe import read_recipe
from quantbento.runtimes.transformers import TransformersRuntime
from quantbento.runtimes.vllm import VllmRuntime
from tests.minimal_recipe import minimal

PLACE = ("variants", 0)
DRAFT = {"method": "draft_model", "num_speculative_tokens": 3, "model": "small"}


def merged(shared, own, folder, runtime=VllmRuntime):
    found = Inspection([])
    return engines.merged(found, PLACE, shared, own, runtime, folder), found.problems


def test_a_variants_own_settings_win(tmp_path):
    engine, problems = merged({"max_num_seqs": 4, "dtype": "float32"}, {"max_num_seqs": 8}, tmp_path)
    assert (engine, problems) == ({"max_num_seqs": 8, "dtype": "float32"}, [])


def test_a_draft_models_path_starts_at_the_recipes_folder(tmp_path):
    (tmp_path / "small").mkdir()
    engine, problems = merged({}, {"speculative_config": DRAFT}, tmp_path)
    assert engine["speculative_config"]["model"] == str(tmp_path / "small")
    assert problems == []
    assert engines.judged(engine)["speculative_config"]["model"] == "small"


def test_what_is_wrong_is_told_with_its_place(tmp_path):
    _, [problem] = merged({}, {"speculative_config": DRAFT}, tmp_path)
    assert problem.loc == ("variants", 0, "engine", "speculative_config", "model")
    assert "no such folder" in problem.message
    _, [problem] = merged({}, {"max_nun_seqs": 1}, tmp_path)
    assert problem.loc[:3] == ("variants", 0, "engine")
    _, [problem] = merged({}, {"max_num_seqs": 1}, tmp_path, TransformersRuntime)
    assert problem.message == "its runtime transformers has no settings; leave it out"
    (tmp_path / "small").mkdir()
    _, [problem] = merged({"speculative_config": DRAFT}, {}, tmp_path)
    assert "move speculative_config to engine of those that have it" in problem.message


def test_full_precision_neither_guesses_nor_keeps_prefixes():
    engine = {"max_num_seqs": 4, "enable_prefix_caching": True, "speculative_config": DRAFT}
    assert engines.plain(engine) == {"max_num_seqs": 4}


def test_a_draft_model_of_another_vocabulary_is_refused(tmp_path):
    for name, tokens in (("model", 100), ("small", 90)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"vocab_size": tokens}))
    engine = {"speculative_config": {**DRAFT, "model": str(tmp_path / "small")}}
    problem = engines.draft_problem(engine, PLACE, tmp_path / "model", "variant 'it'")
    assert problem is not None and "has 90 tokens, the model 100" in problem.message
    assert engines.draft_problem({}, PLACE, tmp_path / "model", "variant 'it'") is None


DECODING = {"min": {"decoding.acceptance_rate": 0.4}}
NGRAM = {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}}


def told(gates, *variants, **more) -> list[str]:
    """What is wrong with the gates of a recipe with these variants."""
    listed = [{"name": f"v{i}", "quantizer": "rtn", **variant} for i, variant in enumerate(variants)]
    recipe = minimal(task="text-generation", model={"path": "m"}, variants=listed, gates=gates, **more)
    _, problems = resolve(read_recipe(recipe))
    return [f"{'.'.join(map(str, p.loc))}: {p.message}" for p in problems if "gates" in p.loc]


def test_gates_on_decoding_are_for_variants_that_decode_otherwise():
    assert told({}, {"engine": NGRAM, "gates": DECODING}, {}) == []
    assert told(DECODING, {"engine": NGRAM}) == []
    assert told(DECODING, {}, {}, task_options={"engine": {"enable_prefix_caching": True}}) == []


@pytest.mark.parametrize(
    ("gates", "variants", "problem"),
    [
        (DECODING, [{"engine": NGRAM}, {}], "gates.min.decoding.acceptance_rate: 'decoding.acceptance_rate' is of"),
        ({}, [{"gates": DECODING}], "variants.0.gates.min.decoding.acceptance_rate: 'decoding.acceptance_rate' is of"),
        ({}, [{"gates": DECODING, "engine": {"enable_prefix_caching": False}}], "variants.0.gates.min.decoding.acc"),
        (
            {"min_recovery": {"decoding.speedup": 1}},
            [{"engine": NGRAM}],
            "gates.min_recovery.decoding.speedup: 'decoding.speedup' has no value of the baseline; use 'min' or 'max'",
        ),
        (
            {"min": {"decoding.acceptance": 1}},
            [{"engine": NGRAM}],
            "gates.min.decoding.acceptance: unknown metric 'decoding.acceptance'; did you mean "
            "'decoding.acceptance_rate'?",
        ),
    ],
)
def test_other_gates_on_decoding_are_refused(gates, variants, problem):
    [found] = told(gates, *variants)
    assert found.startswith(problem)
