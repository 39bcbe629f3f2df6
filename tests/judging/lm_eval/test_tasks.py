"""Tasks are found by name, with everything wrong with them; their files may lie beside them."""

from __future__ import annotations

import logging
import random

import pytest
import yaml

from quantbento.core.errors import QuantbentoError
from quantbento.judging.lm_eval.tasks import load, quiet, unknown
from quantbento.recipe.lm_eval import LmEval
from tests.judging.lm_eval.bigrams import QUESTIONS, write_choices, write_texts


def spec(folder, *tasks, **more) -> LmEval:
    own = {} if folder is None else {"include_path": str(folder)}
    return LmEval.model_validate({"tasks": list(tasks), **own, **more})


@pytest.fixture
def folder(tmp_path):
    write_choices(tmp_path / "tasks")
    write_texts(tmp_path / "tasks")
    return tmp_path / "tasks"


def test_own_tasks_are_read_from_files_beside_them(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # lm-eval would look for them here
    found = load(spec(folder, "choices", "texts"))
    assert found.leaves == {"choices": ["choices"], "texts": ["texts"]}
    assert [doc["question"] for doc in found.harness["tasks"]["choices"].eval_docs] == QUESTIONS


def test_the_number_of_examples_is_the_tasks_the_recipes_or_its_own(folder):
    path = folder / "choices.yaml"
    fixed = yaml.safe_load(path.read_text()) | {"task": "fixed", "num_fewshot": 0}
    (folder / "fixed.yaml").write_text(yaml.safe_dump(fixed))
    names = ("choices", "fixed", {"task": "texts", "num_fewshot": 0})
    tasks = load(spec(folder, *names, num_fewshot=2)).harness["tasks"]
    assert {name: task.config.num_fewshot for name, task in tasks.items()} == {"choices": 2, "fixed": 0, "texts": 0}
    tasks = load(spec(folder, "choices", {"task": "fixed", "num_fewshot": 1})).harness["tasks"]
    assert {name: task.config.num_fewshot for name, task in tasks.items()} == {"choices": 0, "fixed": 1}


@pytest.mark.slow
def test_unknown_names_are_told_with_the_nearest_and_with_files_that_do_not_load(folder):
    (folder / "broken.yaml").write_text("task: [")
    found = unknown(spec(folder, "choices", "choises", "broken"))
    assert list(found) == [1, 2]
    assert f"lm-eval has no task 'choises', nor a file in {folder}; did you mean 'choices'?" in found[1]
    assert "; broken.yaml cannot be read: " in found[2]
    assert unknown(spec(folder, "choices")) == {}


@pytest.mark.slow
def test_lm_evals_own_tasks_and_groups_are_known_and_a_tag_is_not_one_task():
    found = unknown(spec(None, "arc_easy", "mmlu", "arc_esy", "ai2_arc"))
    assert list(found) == [2, 3]
    assert "did you mean 'arc_easy'?" in found[2]
    assert "tag of several tasks; name them: 'arc_challenge' or 'arc_easy'" in found[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dataset_kwargs": {"data_files": {"test": "gone.jsonl"}}},
            "the task 'choices' reads gone.jsonl, which is not",
        ),
        ({"dataset_kwargs": {"data_files": ["gone.jsonl"]}}, "the task 'choices' reads gone.jsonl, which is not"),
        ({"test_split": "train"}, "the task 'choices' cannot be read: KeyError"),
        ({"unsafe_code": True}, "'choices' runs code that the model writes"),
        ({"no_such_key": 1}, "the task 'choices' cannot be read: TypeError"),
    ],
    ids=["no-file", "no-file-in-list", "no-split", "unsafe", "unknown-key"],
)
def test_what_cannot_be_read_is_told(folder, change, message):
    path = folder / "choices.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(QuantbentoError, match=message):
        load(spec(folder, "choices"))


def test_a_metric_that_a_task_lacks_is_told(folder):
    with pytest.raises(QuantbentoError, match=r"'choices' has no metric 'acc_nrm'; did you mean 'acc_norm'\?"):
        load(spec(folder, {"task": "choices", "metric": "acc_nrm"}))
    load(spec(folder, {"task": "choices", "metric": "acc_norm,none"}))


def test_reading_is_the_same_every_time(folder):
    load(spec(folder, "choices"))
    first = random.random()
    load(spec(folder, "choices"))
    assert random.random() == first


def test_lm_eval_is_quiet_and_then_as_before():
    logger = logging.getLogger("lm_eval")
    before = logger.level
    with quiet():
        assert logger.level == logging.ERROR
    assert logger.level == before
