"""A recipe names tasks of lm-eval, alone or with what is particular to one."""

import pytest
from pydantic import ValidationError

from quantbento.recipe import read_recipe
from quantbento.recipe.lm_eval import LmEval, LmEvalTask
from tests.minimal_recipe import minimal


def test_a_name_alone_is_a_task():
    found = LmEval.model_validate({"tasks": ["arc_easy", {"task": "gsm8k", "num_fewshot": 5}]})
    assert found.tasks == [LmEvalTask(task="arc_easy"), LmEvalTask(task="gsm8k", num_fewshot=5)]
    assert (found.limit, found.num_fewshot, found.apply_chat_template) == (None, None, False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks": []}, "at least 1 item"),
        ({"tasks": ["a", {"task": "a", "metric": "acc"}]}, "a is listed twice"),
        ({"tasks": ["a"], "limit": 0}, "greater than 0"),
        ({"tasks": ["a"], "fewshot": 3}, "Extra inputs are not permitted"),
        ({"tasks": [{"metric": "acc"}]}, "Field required"),
    ],
    ids=["none", "twice", "no-question", "unknown-key", "no-name"],
)
def test_what_means_nothing_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        LmEval.model_validate(given)


def test_the_folder_of_tasks_starts_at_the_recipe(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "recipe.yaml").write_text(recipe("own"))
    assert read_recipe(tmp_path / "recipe.yaml").recipe.evaluation.lm_eval.include_path == tmp_path / "own"
    (tmp_path / "recipe.yaml").write_text(recipe("gone"))
    [problem] = read_recipe(tmp_path / "recipe.yaml").problems
    assert problem.loc == ("evaluation", "lm_eval", "include_path")
    assert problem.message == f"no such folder: {tmp_path / 'gone'}"


def recipe(folder: str) -> str:
    import yaml

    evaluation = {"factory": "a.b:d", "lm_eval": {"tasks": ["arc_easy"], "include_path": folder}}
    return yaml.safe_dump(minimal(task="text-generation", evaluation=evaluation))
