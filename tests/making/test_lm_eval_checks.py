"""What is wrong with tasks of lm-eval is a problem of the recipe, with its place, before any work."""

from __future__ import annotations

import yaml

from quantbento.core import machine
from quantbento.making import lm_eval_checks
from quantbento.making.resolve import resolve
from quantbento.recipe import read_recipe
from quantbento.recipe.lm_eval import LmEval
from quantbento.tasks.text_generation import TextGeneration
from tests.judging.lm_eval.bigrams import write_choices
from tests.minimal_recipe import minimal


def problems(lm_eval, task="text-generation", gates=()) -> list[str]:
    evaluation = {"factory": "a.b:d", "lm_eval": lm_eval}
    quantizer = "bnb-nf4" if task == "text-generation" else "torch-dynamic"
    variants = [{"name": "one", "quantizer": quantizer, "gates": dict(gates)}]
    read = read_recipe(minimal(task=task, model={"factory": "a.b:c"}, evaluation=evaluation, variants=variants))
    return read.document.lines(resolve(read)[1])


def test_an_encoder_is_no_language_model():
    [problem] = problems({"tasks": ["arc_easy"]}, "feature-extraction")
    assert problem == (
        "evaluation.lm_eval: lm-eval asks language models, which those of task 'feature-extraction' are not; "
        "leave it out"
    )


def test_gates_may_name_the_recipes_tasks_only():
    gates = {"min": {"lm_eval.arc_easy": 0.5}, "min_recovery": {"lm_eval.average": 0.99, "lm_eval.gsm8k": 0.9}}
    [problem] = problems({"tasks": ["arc_easy", {"task": "mmlu"}]}, gates=gates)
    assert problem.startswith("variants[0].gates.min_recovery.lm_eval.gsm8k: unknown metric 'lm_eval.gsm8k'")
    assert "'lm_eval.mmlu'" in problem


def test_a_missing_package_is_told_with_the_command(monkeypatch):
    real = machine.missing_packages
    monkeypatch.setattr(machine, "missing_packages", lambda names: ["lm_eval"] if "lm_eval" in names else real(names))
    [problem] = problems({"tasks": ["arc_easy"]})
    assert problem == (
        "evaluation.lm_eval: lm_eval needs lm_eval, not installed here; run: pip install 'quantbento[lm-eval]'"
    )


def test_a_task_that_cannot_be_read_is_found_before_the_run_only(tmp_path):
    write_choices(tmp_path / "tasks")
    spec = LmEval.model_validate({"tasks": ["choices"], "include_path": str(tmp_path / "tasks")})
    assert lm_eval_checks.problems(TextGeneration, spec, call=True) == []
    path = tmp_path / "tasks" / "choices.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"test_split": "gone"}))
    assert lm_eval_checks.problems(TextGeneration, spec, call=False) == []
    [problem] = lm_eval_checks.problems(TextGeneration, spec, call=True)
    assert problem.loc == ("evaluation", "lm_eval", "tasks")
    assert "the task 'choices' cannot be read" in problem.message
    assert lm_eval_checks.problems(TextGeneration, None, call=True) == []


def test_an_unknown_task_is_told_at_its_place(monkeypatch):
    monkeypatch.setattr(lm_eval_checks, "unknown", lambda spec: {1: "lm-eval has no task 'b'"})
    spec = LmEval.model_validate({"tasks": ["a", "b"]})
    [problem] = lm_eval_checks.problems(TextGeneration, spec, call=False)
    assert problem[:2] == (("evaluation", "lm_eval", "tasks", 1), "lm-eval has no task 'b'")
