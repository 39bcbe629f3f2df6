"""Every name of a recipe is resolved once; everything that is wrong comes in one message, each with its line."""

from __future__ import annotations

import pytest

from quantbento.core import machine
from quantbento.core.errors import one_of
from quantbento.core.registry import QUANTIZERS
from quantbento.making.resolve import ResolvedRecipe, resolve
from quantbento.quantizers.onnx.dynamic import OnnxDynamic
from quantbento.recipe import Recipe, read_recipe
from tests.conftest import ROOT
from tests.minimal_recipe import minimal

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

WRONG = """\
schema_version: 1
name: Two Moons
task: tensor
task_options:
  lables: [a, b]
model:
  path: no-such-folder
evaluation:
  path: no-such-file.txt
benchmark:
  rounds: 2
gates:
  max_drop: {acuracy: 0.01}
variant: []
variants:
  - name: a
    quantizer: torch-dynamc
  - name: a
    quantizer: onnx-dynamic
    options:
      weight_type: int4
      per_chanel: true
    gates:
      min_speedup: fast
      min: {mean_cosine: 0.9}
name: x
"""


def resolved(recipe) -> ResolvedRecipe:
    found, problems = resolve(read_recipe(recipe))
    assert found is not None and problems == []
    return found


def problems(recipe) -> list[str]:
    read = read_recipe(recipe)
    found = read.document.lines(resolve(read)[1])
    assert found
    return found


def test_everything_wrong_comes_in_one_message_with_lines_and_suggestions(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    assert problems(path) == [
        "line 5: task_options.lables: unknown key; did you mean 'labels'?",
        f"line 7: model.path: no such folder: {tmp_path / 'no-such-folder'}",
        f"line 9: evaluation.path: no such file or folder: {tmp_path / 'no-such-file.txt'}",
        "line 11: benchmark.rounds: input should be greater than or equal to 3, not 2",
        "line 13: gates.max_drop.acuracy: unknown metric 'acuracy'; did you mean 'accuracy'? "
        "(this task has 'accuracy', 'f1_macro', 'mcc', 'agreement', 'sqnr_db' or 'max_error')",
        "line 14: variant: unknown key; did you mean 'variants'?",
        "line 17: variants[0].quantizer: unknown quantizer 'torch-dynamc'; did you mean 'torch-dynamic'? "
        f"(allowed: {one_of(QUANTIZERS)}, or module:Class)",
        "line 18: variants[1].name: 'a' names two variants; each needs its own",
        "line 21: variants[1].options.weight_type: input should be 'int8' or 'uint8', not 'int4'",
        "line 22: variants[1].options.per_chanel: unknown key; did you mean 'per_channel'?",
        "line 24: variants[1].gates.min_speedup: "
        "input should be a valid number, unable to parse string as a number, not 'fast'",
        "line 25: variants[1].gates.min.mean_cosine: unknown metric 'mean_cosine' "
        "(this task has 'accuracy', 'f1_macro', 'mcc', 'agreement', 'sqnr_db' or 'max_error')",
        "line 26: the key 'name' is there twice",
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_recipes_of_this_project_resolve(path, monkeypatch):
    """Whatever is installed: no set-up has all of it."""
    monkeypatch.setattr(machine, "missing_packages", lambda names: [])
    found = resolved(path)
    assert [v.name for v in found.variants] == [v.name for v in found.recipe.variants]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"variants": [{"name": "n" * 60, "quantizer": "torch-dynamic"}]}, "longer than the model store's 63"),
        ({"task": "tensr"}, "task: unknown task 'tensr'; did you mean 'tensor'?"),
        (
            {"task": "text-generation", "variants": [{"name": "int8", "quantizer": "onnx-dynamic"}]},
            "variants[0].quantizer: 'onnx-dynamic' writes models for 'onnx', which do not run text-generation",
        ),
        (
            {"variants": [{"name": "int4", "quantizer": "gptq"}], "calibration": {"factory": "a:b"}},
            "'gptq' writes models for 'vllm', which do not run tensor (quantizers that do: 'torch-dynamic'",
        ),
        (
            {"task": "text-generation", "variants": [{"name": "int4", "quantizer": "autoround"}]},
            "variants[0].quantizer: 'autoround' calibrates on data: add `calibration:`",
        ),
        (
            {"task": "text-generation", "gates": {"min_recovery": {"kl_divergence": 0.9}}},
            "'kl_divergence' is 0 for the baseline, it has no recovery; use max or max_drop",
        ),
        (
            {"task": "feature-extraction", "evaluation": {"path": "README.md", "columns": {"texts": "body"}}},
            "evaluation.columns.texts: task 'feature-extraction' reads no field 'texts'; did you mean 'text'?",
        ),
        (
            {"evaluation": {"path": "README.md", "text": "body"}},
            "evaluation.text: task 'tensor' reads no field 'text' (it reads 'label')",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value[:24],
)
def test_one_thing_wrong_is_one_problem(changes, problem):
    found = problems(minimal(**changes))
    assert len(found) == 1
    assert problem in found[0]


def test_a_preprocess_function_does_not_go_with_a_language_model():
    variants = [{"name": "int8", "quantizer": "torch-dynamic"}]
    found = problems(minimal(task="text-generation", variants=variants, custom_objects={"preprocess": "a:b"}))
    assert found == [
        "custom_objects.preprocess: text-generation is served without it; put it into the tokenizer's chat template"
    ]


def test_an_onnx_file_goes_only_with_what_takes_one(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    model = {"onnx": str(tmp_path / "m.onnx")}
    assert problems(minimal(model=model)) == [
        "variants[0].quantizer: 'torch-dynamic' needs a PyTorch model, not an ONNX file"
    ]
    variants = [{"name": "int8", "quantizer": "onnx-dynamic"}]
    assert problems(minimal(model=model, variants=variants, task="feature-extraction")) == [
        "model.onnx: task 'feature-extraction' needs a PyTorch model, not an ONNX file"
    ]
    assert isinstance(resolved(minimal(model=model, variants=variants)).recipe, Recipe)


def test_malformed_parts_are_reported_once_each():
    variants = [3, {"quantizer": "torch-dynamic", "options": [1]}, {"quantizer": "torch-dynamic", "gates": []}]
    assert [p.partition(": ")[0] for p in problems(minimal(variants=variants, task_options=[]))] == [
        "task_options",
        "variants[0]",
        "variants[1].name",
        "variants[1].options",
        "variants[2].name",
        "variants[2].gates",
    ]


LANGUAGE = {"task": "text-generation", "calibration": {"factory": "a:b"}}


def variants(**quantizers: str) -> list[dict]:
    return [{"name": name, "quantizer": quantizer} for name, quantizer in quantizers.items()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calibration": {"factory": "a:b"}}, "calibration: no quantizer of this recipe (torch-dynamic) needs"),
        ({"training": {"factory": "a:b"}}, "training: no quantizer of this recipe (torch-dynamic) needs training"),
        (
            LANGUAGE | {"variants": variants(a="rtn", b="bnb-nf4")},
            "calibration: no quantizer of this recipe (rtn, bnb-nf4)",
        ),
        (
            {"variants": variants(a=f"{__name__}:Calibrating"), "calibration": {"factory": "a:b", "sequences": 4}},
            "calibration.sequences: is for text-generation, whose texts are cut; tensor takes `count` samples",
        ),
        (
            {"variants": variants(a=f"{__name__}:Training")},
            "variants[0].quantizer: 'training' trains on data: add `training:`",
        ),
    ],
    ids=["arrays", "training", "language-model", "sequences-of-arrays", "no-training"],
)
def test_samples_that_nothing_uses_are_refused_and_those_that_are_needed_asked_for(changes, said):
    [problem] = problems(minimal(**changes))
    assert problem.startswith(said)


def test_samples_that_one_quantizer_uses_are_fine():
    found = resolved(minimal(**LANGUAGE, variants=variants(a="rtn", b="autoround")))
    assert [v.quantizer.data for v in found.variants] == [None, "calibration"]
    resolved(minimal(variants=variants(a="torch-dynamic", b=f"{__name__}:Training"), training={"factory": "a:b"}))


def test_rtn_needs_no_calibration_data():
    """It rounds; no sample changes what it makes."""
    assert resolved(minimal(task="text-generation", variants=variants(a="rtn"))).variants[0].runtime.name == "vllm"


@pytest.mark.parametrize(
    ("quantizer", "engine", "said"),
    [
        (
            "rtn",
            {"max_model_len": 8},
            "task_options.engine.max_model_len: input should be greater than or equal to 16, not 8",
        ),
        ("rtn", {"max_modellen": 64}, "task_options.engine.max_modellen: unknown key; did you mean 'max_model_len'?"),
        (
            "bnb-nf4",
            {"max_model_len": 64},
            "task_options.engine: the variants are served by transformers, which has no settings",
        ),
    ],
    ids=["limit", "name", "no-settings"],
)
def test_an_engines_settings_are_checked_by_the_runtime_that_gets_them(quantizer, engine, said):
    [problem] = problems(
        minimal(task="text-generation", variants=variants(a=quantizer), task_options={"engine": engine})
    )
    assert problem.startswith(said)


MANY = """\
schema_version: 1
name: many
task: tensor
task_options:
  labels: [a, b]
model:
  onnx: no-such-file.onnx
evaluation:
  factory: a.b:c
gates:
  min: {acuracy: 0.9}
variants:
  - name: a
    quantizer: onnx-dynamik
  - name: b
    quantizer: onnx-dynamic
    options:
      per_chanel: true
      weight_type: int4
  - name: c
    quantizer: tests.making.test_resolve:NeedsMore
"""


def test_names_packages_options_and_files_that_are_wrong_come_at_once_each_with_its_line(tmp_path):
    """Three misspelt names, a missing package, a wrong option, a missing file."""
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    found = problems(path)
    assert [problem.split(": ")[:2] for problem in found] == [
        ["line 7", "model.onnx"],
        ["line 11", "gates.min.acuracy"],
        ["line 14", "variants[0].quantizer"],
        ["line 18", "variants[1].options.per_chanel"],
        ["line 19", "variants[1].options.weight_type"],
        ["line 21", "variant 'c'"],
    ]
    assert found[0].endswith(f"no such file: {tmp_path / 'no-such-file.onnx'}")
    assert "did you mean 'accuracy'?" in found[1] and "did you mean 'onnx-dynamic'?" in found[2]
    assert "did you mean 'per_channel'?" in found[3] and found[4].endswith("not 'int4'")
    assert found[5].endswith("needs no_such_engine, not installed here; run: pip install no_such_engine")


def test_a_package_that_the_task_needs_and_is_not_there_is_a_problem(monkeypatch):
    monkeypatch.setattr(machine, "missing_packages", lambda names: [name for name in names if name == "PIL"])
    _, problems = resolve(read_recipe(minimal(task="image-classification")))
    [found] = [problem for problem in problems if problem.loc == ("task",)]
    assert found.message == (
        "image-classification needs PIL, not installed here; run: pip install 'quantbento[vision]'"
    )


def test_what_several_parts_lack_is_installed_by_one_command(monkeypatch):
    gone = {"nncf", "uv", "PIL", "no_such_engine"}
    monkeypatch.setattr(machine, "missing_packages", lambda names: [name for name in names if name in gone])
    asked = minimal(task="image-classification", variants=variants(a="openvino", b="litert", c=f"{__name__}:NeedsMore"))
    read = read_recipe(asked)
    told = [problem for problem in read.error(resolve(read)[1]).problems if "pip install" in problem]
    assert len(told) == 5
    assert told[-1] == "one command installs what is missing: pip install 'quantbento[quantize,vision]' no_such_engine"


@pytest.mark.parametrize(
    ("quantizer", "options", "needs"),
    [
        ("litert", {"mode": "full-integer"}, True),
        ("litert", {}, False),
        ("torch-export", {}, True),
        ("torch-export", {"dynamic": True, "compile": False}, False),
    ],
)
def test_what_options_need_is_missed_before_the_work(quantizer, options, needs):
    _, problems = resolve(read_recipe(minimal(variants=[{"name": "a", "quantizer": quantizer, "options": options}])))
    told = [problem.message for problem in problems]
    assert told == ([f"{quantizer!r} calibrates on data with these options: add `calibration:`"] if needs else [])


@pytest.mark.parametrize(("here", "refused"), [({"cpu"}, True), ({"cpu", "cuda"}, False)], ids=["cpu", "gpu"])
def test_a_device_that_is_not_there_is_a_problem(monkeypatch, here, refused):
    monkeypatch.setattr(machine, "devices", lambda: here)
    read = read_recipe(minimal(variants=variants(a=f"{__name__}:OnGpus")))
    told = f"variants[0].quantizer: {__name__}:OnGpus needs a device of the kind 'cuda'; this machine has 'cpu'"
    assert read.document.lines(resolve(read)[1]) == ([told] if refused else [])


def test_an_unknown_task_hides_nothing_that_does_not_depend_on_it():
    wrong = [
        {"name": "a", "quantizer": "torch-dynamc"},
        {"name": "a", "quantizer": "rtn", "options": {"group_sise": 1}},
    ]
    found = problems(minimal(task="tensr", variants=wrong))
    assert [problem.partition(": ")[0] for problem in found] == [
        "task",
        "variants[0].quantizer",
        "variants[1].name",
        "variants[1].options.group_sise",
    ]


class OnGpus(OnnxDynamic):
    name = "on-gpus"
    devices = ("cuda",)


class Calibrating(OnnxDynamic):
    name = "calibrating"
    data = "calibration"


class Training(OnnxDynamic):
    name = "training"
    data = "training"


class NeedsMore(OnnxDynamic):
    name = "needs-more"
    modules = ("json", "no_such_engine")
    extra = None
