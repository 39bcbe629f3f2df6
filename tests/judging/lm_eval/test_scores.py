"""The figures are lm-eval's, of the metric that was asked for, and nothing is printed or drawn."""

from __future__ import annotations

import os

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Silent
from quantbento.core.stage_cache import StageCache
from quantbento.judging.lm_eval.scores import kept_scores, scores
from quantbento.recipe.lm_eval import LmEval
from tests.judging.lm_eval.bigrams import (
    CHOICES,
    QUESTIONS,
    TEXT,
    loaded,
    logprob,
    write_choices,
    write_task,
    write_texts,
    write_writing,
)


@pytest.fixture
def folder(tmp_path):
    for write in (write_choices, write_texts, write_writing):
        write(tmp_path / "tasks")
    return tmp_path / "tasks"


def spec(folder, *tasks, **more) -> LmEval:
    return LmEval.model_validate({"tasks": list(tasks), "include_path": str(folder), **more})


def right_answers(of, norm) -> list[bool]:
    """By the definition of acc and acc_norm: the choice of the largest log-probability, or of that per byte."""
    found = []
    for i, question in enumerate(QUESTIONS):
        before = of.task.tokenizer(question, add_special_tokens=False)["input_ids"]
        values = []
        for choice in CHOICES:
            own = of.task.tokenizer(question + choice, add_special_tokens=False)["input_ids"][len(before) :]
            values.append(logprob(of, before, own) / (len(choice) if norm else 1))
        found.append(values.index(max(values)) == i % 3)
    return found


def test_figures_are_those_of_the_definition(folder, capsys):
    of = loaded()
    names = ["choices", "writing", {"task": "texts", "metric": "bits_per_byte"}]
    found = scores(of, spec(folder, *names), "model", Silent())
    right = right_answers(of, norm=True)
    choices = found["choices"]
    assert (choices["metric"], choices["value"]) == ("acc_norm", pytest.approx(sum(right) / len(right)))
    deviation = (sum((r - choices["value"]) ** 2 for r in right) / (len(right) - 1)) ** 0.5
    assert choices["stderr"] == pytest.approx(deviation / len(right) ** 0.5)
    assert (choices["better"], choices["samples"], choices["num_fewshot"]) == (1, len(QUESTIONS), 0)
    assert found["writing"]["value"] == pytest.approx(0.5)
    texts = [TEXT, TEXT * 6]
    bits = (
        -sum(logprob(of, [0], of.task.tokenizer(t, add_special_tokens=False)["input_ids"]) for t in texts) / 0.6931472
    )
    assert found["texts"]["value"] == pytest.approx(bits / sum(map(len, texts)), rel=1e-4)
    assert (found["texts"]["better"], found["texts"]["metric"]) == (-1, "bits_per_byte")
    assert "DISABLE_MULTIPROC" not in os.environ
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_chosen_metric_and_a_limit(folder):
    of = loaded()
    wanted = spec(folder, {"task": "choices", "metric": "acc"}, limit=4)
    [row] = scores(of, wanted, "model", Silent()).values()
    right = right_answers(of, norm=False)[:4]
    assert (row["metric"], row["value"], row["samples"]) == ("acc", pytest.approx(sum(right) / 4), 4)


def test_examples_and_the_chat_template_go_before_a_question(folder):
    of = loaded(max_model_len=None)
    more = {"num_fewshot": 1, "apply_chat_template": True, "system_instruction": "Answer.", "limit": 1}
    assert scores(of, spec(folder, "writing", **more), "model", Silent())["writing"]["num_fewshot"] == 1
    [([prompt], _)] = of.runtime.asked
    text = of.task.tokenizer.decode(prompt)
    assert text.startswith("<s>system: Answer.\nuser: ") and text.endswith(f"user: {QUESTIONS[0]}\nassistant: ")
    assert text.count("user: ") == 2
    scores(of, spec(folder, "writing", **more, fewshot_as_multiturn=False), "model", Silent())
    assert of.task.tokenizer.decode(of.runtime.asked[-1][0][0]).count("user: ") == 1


def test_a_group_has_the_mean_of_its_tasks(folder):
    for name in ("one", "two"):
        write_choices(folder, name)
    path = folder / "both.yaml"
    means = "aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]"
    path.write_text(f"group: both\ntask: [one, two]\n{means}\n")
    # Tasks of a group find their files as lm-eval does.
    for name in ("one", "two"):
        yaml = folder / f"{name}.yaml"
        yaml.write_text(yaml.read_text().replace(f"{name}.jsonl", str(folder / f"{name}.jsonl")))
    found = scores(loaded(), spec(folder, "both"), "model", Silent())["both"]
    right = right_answers(loaded(), norm=False)
    assert (found["metric"], found["samples"]) == ("acc", 2 * len(QUESTIONS))
    assert found["value"] == pytest.approx(sum(right) / len(right))


def test_a_task_that_does_not_run_is_told_in_one_line(folder):
    rows = [{"a": {"b": "x"}}, {"a": {"b": None}}]  # the first is what lm-eval looks at when it reads the task
    write_task(folder, "wrong", rows, output_type="generate_until", doc_to_text="{{a.b.upper()}}", doc_to_target="x")
    with pytest.raises(
        QuantbentoError, match=r"lm-eval does not run on int4: UndefinedError: .* has no attribute 'upper'"
    ) as e:
        scores(loaded(), spec(folder, "wrong"), "int4", Silent())
    assert "\n" not in str(e.value)


def test_prompts_that_were_cut_are_told(folder):
    told = []
    progress = Silent()
    progress.say = told.append
    scores(loaded(max_model_len=4), spec(folder, "choices"), "int4", progress)
    assert len(told) == 1 and "prompts of lm-eval were longer than the context" in told[0]


def test_an_earlier_runs_figures_are_used(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = StageCache(tmp_path / "stages", {}, 10**9)
    first = kept_scores(loaded(), spec(folder, "choices"), "model", Silent(), cache)
    assert kept_scores(None, spec(folder, "choices"), "model", Silent(), cache) == first
