"""Everything wrong with a language model's recipe is reported before a weight is read: here no weight is readable."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from quantbento.core.errors import RecipeError
from quantbento.inputs import checkpoint
from quantbento.making import checks, plan
from quantbento.quantizers.llm import checkpoint_quantizer, schemes
from quantbento.runtimes import vllm_settings
from tests.conftest import ROOT
from tests.tiny_llama import tokenizer_of

pytestmark = pytest.mark.usefixtures("bento_home")

TEXT = "def f(x):\n    return x + 1\n"
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def tokenizer_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer_of(TEXT).save_pretrained(folder)
    return folder


@pytest.fixture
def model(tokenizer_files, tmp_path) -> Path:
    """A small Llama's configuration and tokenizer, and weights that cannot be read."""
    folder = tmp_path / "model"
    shutil.copytree(tokenizer_files, folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(b"not weights")
    return folder


@pytest.fixture
def recipe(model, tmp_path) -> dict:
    """A valid recipe."""
    (tmp_path / "texts.txt").write_text("\n".join(f"line {i} of many" for i in range(100)))
    texts = {"path": str(tmp_path / "texts.txt")}
    return {
        "schema_version": 1,
        "name": "tiny",
        "task": "text-generation",
        "task_options": {"window": 16, "windows": 4},
        "model": {"path": str(model)},
        "evaluation": texts,
        "calibration": texts | {"sequences": 8, "sequence_length": 16},
        "variants": [{"name": "int4", "quantizer": "awq", "options": {"group_size": 64}}],
    }


def problems(recipe: dict) -> list[str]:
    """The problems that a run finds; a dry run finds the same."""
    found = []
    for look in (lambda: plan.make(recipe, None, force=False), lambda: plan.check(recipe, None)):
        with pytest.raises(RecipeError) as caught:
            look()
        found.append(caught.value.problems)
    assert found[0] == found[1]
    return found[0]


def with_options(recipe: dict, quantizer: str = "awq", **options: object) -> dict:
    return recipe | {"variants": [{"name": "int4", "quantizer": quantizer, "options": options}]}


def configured(model: Path, **changes: object) -> None:
    (model / "config.json").write_text(json.dumps(CONFIG | changes))


def test_a_sound_recipe_has_no_problems_and_tells_what_it_needs(recipe):
    note, *served = plan.make(recipe, None, force=False).notes
    assert note.startswith("0 M parameters, 15 linear layers: needs about 2.0 GB of memory and at most 0.0 GB of disk")
    assert served[0].startswith("serving on vLLM: the KV cache takes ")
    assert plan.check(recipe, None)[1] == [note, *served]


@pytest.mark.slow
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_everything_wrong_comes_in_one_message_before_the_weights_are_read(recipe, model, tmp_path, dry):
    for left in set(model.iterdir()) - {model / "config.json"}:
        left.unlink()
    recipe["calibration"]["sequences"] = 5000
    recipe["variants"] = [
        {"name": "uneven", "quantizer": "rtn", "options": {"group_size": 128}},
        {"name": "w3", "quantizer": "autoround", "options": {"scheme": "W3A16", "group_size": 48}},
    ]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    done = subprocess.run([sys.executable, "save_models.py", path, *dry], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    found = done.stderr.strip().splitlines()
    assert found[0] == f"error: 5 problems in {path}:"
    places = ["model: ", "calibration: ", "variant 'uneven': ", "variant 'w3': ", "variants[1].options.scheme: "]
    keys = ["model:", "calibration:", "- name: uneven", "- name: w3", "scheme: W3A16"]
    lines = path.read_text().splitlines()
    for told, place, key in zip(found[1:], places, keys, strict=True):
        line = next(i for i, text in enumerate(lines, 1) if text.strip().startswith(key))
        assert told.startswith(f"  - line {line}: {place}")
    model_told, calibration, uneven, w3, scheme = (
        told.partition(place)[2] for told, place in zip(found[1:], places, strict=True)
    )
    allowed = "'W4A16', 'W4A16_ASYM', 'W8A16', 'FP8_BLOCK', 'NVFP4' or 'MXFP4'"
    assert scheme == f"input should be {allowed}, not 'W3A16'"
    assert uneven.startswith(
        "group_size 128 does not divide the 64, 192 inputs of 'model.layers.0.self_attn.q_proj' "
        "and 13 more; use 64, or add them to ignore"
    )
    assert w3.startswith("group_size 48 does not divide the 64 inputs of")
    assert model_told.startswith(f"there is no tokenizer in {model}; copy tokenizer.json")
    assert calibration.startswith("100 texts make at most ")
    assert calibration.endswith(" sequences of 16 tokens, 5000 are asked for")


@pytest.mark.parametrize(
    ("what", "changes", "told"),
    [
        ("calibration", {"sequences": 500}, r"sequences of 16 tokens, 500 are asked for"),
        ("calibration", {"count": 101}, r"calibration: .*texts\.txt has 100 samples; count asks for 101"),
        ("task_options", {"windows": 500}, r"evaluation: 100 texts make \d+ sequences of 16 tokens, 500 are asked for"),
    ],
    ids=["calibration", "count", "windows"],
)
def test_samples_are_counted_after_tokenization(recipe, what, changes, told):
    recipe[what] |= changes
    [problem] = problems(recipe)
    assert re.search(told, problem)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tokenizer.json", None, "model: there is no tokenizer in "),
        ("tokenizer.json", "{", "model: the tokenizer in "),
        ("config.json", '{"model_type": "llama', "is no causal language model in hub format: "),
        ("config.json", '{"model_type": "vit"}', "is no causal language model in hub format: "),
    ],
    ids=["no-tokenizer", "broken-tokenizer", "broken-config", "another-model"],
)
def test_a_folder_that_is_no_language_model(recipe, model, name, content, told):
    if content is None:
        for path in [*model.glob("tokenizer*"), *model.glob("chat_template*")]:
            path.unlink()
    else:
        (model / name).write_text(content)
    found = problems(recipe)  # the tokenizer may need the configuration
    assert told in found[0]
    assert str(model) in found[0]
    assert all("\n" not in problem for problem in found)


@pytest.mark.parametrize(
    ("ignore", "fused"),
    [
        (["lm_head", "*.k_proj"], "'model.layers.0.self_attn.k_proj' in 16 bit but not all of q_proj, k_proj, v_proj"),
        (["*.1.mlp.up_proj"], "'model.layers.1.mlp.up_proj' in 16 bit but not all of gate_proj, up_proj"),
        (["lm_head", "*.self_attn.*"], None),
        (["*.1.mlp.gate_proj", "*.1.mlp.up_proj"], None),
        (["*.o_proj", "*.down_proj"], None),
    ],
    ids=["k", "up", "all-of-attention", "gate-and-up", "not-fused"],
)
@pytest.mark.parametrize("quantizer", ["awq", "smoothquant"])
def test_layers_that_vllm_fuses_are_kept_together(recipe, quantizer, ignore, fused):
    options = {"ignore": ignore} | ({"group_size": 32} if quantizer == "awq" else {})
    recipe = with_options(recipe, quantizer, **options)
    if fused is None:
        plan.check(recipe, None)
    else:
        assert problems(recipe) == [f"variant 'int4': ignore keeps {fused}: vLLM runs them as one layer"]


def test_a_scheme_that_this_machine_cannot_run_is_refused(recipe, monkeypatch):
    monkeypatch.setattr(schemes, "runs_on_cpu", lambda: True)
    monkeypatch.setattr(schemes.machine, "missing_packages", lambda names: [])
    assert problems(with_options(recipe, "gptq", scheme="NVFP4")) == [
        "variant 'int4': NVFP4 does not run here: vLLM has no kernel for it on CPUs. It needs a GPU of compute "
        "capability 7.5 or higher (below 10.0 weights only); no CPU. With `judge: none` it is made and checked here, "
        "and judged where it runs"
    ]
    # What was made elsewhere and is only judged here is not told to be made here.
    *_, found, _ = plan.to_judge(with_options(recipe, "gptq", scheme="NVFP4"), "int4")
    assert [p.message for p in found if "NVFP4 does not run here" in p.message and "judge: none" not in p.message]


def test_groups_of_a_schemes_own_size_have_to_divide_the_layers(recipe, model, monkeypatch):
    monkeypatch.setattr(schemes.machine, "cpu_flags", lambda: {"amx_tile"})
    assert problems(with_options(recipe, "autoround", scheme="FP8_BLOCK")) == [
        "variant 'int4': FP8_BLOCK has one scale per 128 x 128 weights, which do not divide "
        "'model.layers.0.self_attn.q_proj' and 13 more (64 x 64); add it to ignore, or take another scheme"
    ]


def test_kernels_for_cpus_take_multiples_of_32(recipe, model, monkeypatch):
    configured(model, intermediate_size=176)
    recipe = with_options(recipe, group_size=16)
    assert problems(recipe) == [
        "variant 'int4': vLLM's kernels for CPUs need dimensions divisible by 32; 'model.layers.0.mlp.gate_proj' and "
        "5 more is 176 x 64. Add it to ignore, or serve on a GPU"
    ]
    monkeypatch.setattr(checkpoint_quantizer, "runs_on_cpu", lambda: False)
    plan.check(recipe, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"group_size": 0}, "group_size 0 makes no groups"),
        ({"group_size": 1}, "group_size 1 makes no groups"),
        ({"ignore": ["*"]}, "ignore leaves none of the 15 linear layers to quantize"),
        ({"ignore": ["lm_haed"]}, "the pattern 'lm_haed' matches no linear layer; did you mean 'lm_head'?"),
    ],
    ids=["zero", "one", "nothing-left", "no-such-layer"],
)
def test_options_that_leave_nothing_to_do(recipe, options, told):
    [problem] = problems(with_options(recipe, **({"group_size": 64} | options)))
    assert problem.startswith(f"variant 'int4': {told}")


def test_one_scale_a_row_divides_everything(recipe, model):
    configured(model, intermediate_size=160)
    plan.check(with_options(recipe, group_size=-1), None)


def test_bitsandbytes_has_no_groups_but_layers_to_choose(recipe):
    del recipe["calibration"]
    plan.check(with_options(recipe, "bnb-nf4"), None)
    assert problems(with_options(recipe, "bnb-nf4", ignore=["head"])) == [
        "variant 'int4': the pattern 'head' matches no linear layer; did you mean 'lm_head'?"
    ]


def test_too_little_memory(recipe, monkeypatch):
    monkeypatch.setattr(checks.machine, "memory_bytes", lambda: 1_000_000_000)
    assert problems(recipe) == ["quantizing needs about 2 GB of memory; this machine has 1 GB"]


def test_a_model_that_can_be_quantized_but_not_judged_here(recipe, monkeypatch):
    found = checkpoint.CheckpointFacts(Path("nowhere"), {"layers.0.a": (8192, 8192)}, 20_000_000_000)
    findings = checks.Findings()
    monkeypatch.setattr(checks.machine, "memory_bytes", lambda: 16_000_000_000)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**12))
    checks._needs(found, {"a": 1_000_000_000}, True, findings)
    told = "judging needs about 82 GB of memory; this machine has 16 GB; with --judge none, 3 GB are enough"
    assert [problem.message for problem in findings.problems] == [told]
    assert findings.notes[1] == "a: quantizing from disk, layer by layer, takes about 1.00 GB of memory"
    findings = checks.Findings()
    checks._needs(found, {"a": 1_000_000_000}, False, findings)
    assert findings.problems == []


def test_too_little_disk(recipe, bento_home, monkeypatch):
    def usage(place):
        return SimpleNamespace(free=1000 if Path(place).is_relative_to(bento_home) else 10**12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    [problem] = problems(recipe)
    assert problem.startswith(f"the variants need up to 0 GB of disk; {bento_home / 'models'} has 0 GB free")
    assert "TMPDIR and BENTOML_HOME name other places" in problem


def test_a_dry_run_calls_nothing_of_the_users(recipe, tmp_path, monkeypatch):
    (tmp_path / "own_texts.py").write_text("def texts():\n    raise RuntimeError('called')\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe["evaluation"] = {"factory": "own_texts:texts"}
    plan.check(recipe, None)
    with pytest.raises(RecipeError, match="evaluation: 'own_texts:texts' failed: RuntimeError: called"):
        plan.make(recipe, None, force=False)


def test_a_bad_text_is_named_by_its_place(recipe, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "good"}\n{"text": 7}\n')
    recipe["evaluation"] = {"path": str(tmp_path / "texts.jsonl")}
    assert problems(recipe) == ["evaluation: item 1: must be a string or a list of messages, not int"]


@pytest.fixture
def encoder(tiny_encoder, tmp_path) -> dict:
    """A valid recipe whose model is held in memory."""
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    return {
        "schema_version": 1,
        "name": "tiny",
        "task": "feature-extraction",
        "model": {"path": str(tiny_encoder)},
        "evaluation": {"path": str(tmp_path / "texts.txt")},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    }


def test_models_held_in_memory_are_looked_at_too(encoder, tmp_path):
    assert plan.check(encoder, None)[1] == [
        "not checked: whether the model's weights load, and whether it takes the samples"
    ]
    (tmp_path / "empty").mkdir()
    encoder["model"]["path"] = str(tmp_path / "empty")
    encoder["evaluation"]["count"] = 3
    encoder["custom_objects"] = {"preprocess": "no_such_module:halve"}
    with pytest.raises(RecipeError) as caught:
        plan.check(encoder, None)
    assert caught.value.problems == [
        f"model: {tmp_path / 'empty'} is no model in hub format: it has no config.json",
        f"evaluation: {tmp_path / 'texts.txt'} has 2 samples; count asks for 3",
        "custom_objects.preprocess: 'no_such_module:halve': no module named 'no_such_module'; run from the folder that "
        "holds it, or install it",
    ]


def test_a_model_that_its_runtime_does_not_run_is_found_before_it_is_read(encoder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(encoder["model"]["path"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "electra"}))
    variants = [{"name": "bf16", "quantizer": "vllm-pooling"}, {"name": "int8", "quantizer": "torch-dynamic"}]
    recipe = encoder | {"model": {"path": str(folder)}, "variants": variants}
    [told] = problems(recipe)
    assert "vllm-pooling does not run feature-extraction by models of the type 'electra'; by 'bert', " in told
    assert "judge: none" not in told
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 1}))
    plan.check(recipe, None)


def test_heads_that_vllm_does_not_run_here_are_found_before_the_model_is_read(encoder, monkeypatch):
    recipe = encoder | {"variants": [{"name": "bf16", "quantizer": "vllm-pooling"}]}
    monkeypatch.setattr(vllm_settings, "runs_on_cpu", lambda: True)
    [told] = problems(recipe)
    assert "the model's attention heads have 16 channels; vLLM's build for CPUs runs heads of 32, 64, 80" in told
    assert told.endswith("With `judge: none` it is made and checked here, and judged where it runs")
    plan.check(recipe, None, judge="none")


def test_a_task_that_a_quantizers_runtime_does_not_run_is_refused(tmp_path):
    recipe = {
        "schema_version": 1,
        "name": "digits",
        "task": "image-classification",
        "model": {"path": str(tmp_path)},
        "evaluation": {"factory": "examples.digits:held_out"},
        "variants": [{"name": "bf16", "quantizer": "vllm-pooling"}],
    }
    with pytest.raises(RecipeError) as caught:
        plan.check(recipe, None)
    told = "writes models for 'vllm-pooling', which do not run image-classification"
    assert any(told in problem for problem in caught.value.problems)


def test_a_file_that_is_no_onnx_file_is_found_in_a_dry_run(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"nothing of the kind")
    (tmp_path / "x.npz").write_bytes(b"nor this")
    recipe = {
        "schema_version": 1,
        "name": "graph",
        "task": "tensor",
        "model": {"onnx": str(tmp_path / "m.onnx")},
        "evaluation": {"path": str(tmp_path / "x.npz")},
        "variants": [{"name": "int8", "quantizer": "onnx-dynamic"}],
    }
    model, evaluation = problems(recipe)
    assert model.startswith(f"model: {tmp_path / 'm.onnx'} is not an ONNX file")
    assert evaluation.startswith(f"evaluation: {tmp_path / 'x.npz'} cannot be read as .npz")


@pytest.mark.parametrize(
    ("model", "evaluation", "told"),
    [
        (
            {"id": "owner/name"},
            {"dataset": "glue"},
            ["the hub model owner/name, which", "dataset glue, which is not loaded"],
        ),
        (
            {"factory": "own:model"},
            {"factory": "own:texts"},
            ["own:model, which is not", "own:texts, which is not called"],
        ),
    ],
    ids=["hub", "factory"],
)
@pytest.mark.parametrize("task", ["feature-extraction", "text-generation"])
def test_a_dry_run_says_what_it_did_not_check(encoder, model, evaluation, told, task):
    _, notes = plan.check(encoder | {"model": model, "evaluation": evaluation, "task": task}, None)
    assert len(notes) == len(told)
    for note, text in zip(notes, told, strict=True):
        assert note.startswith("not checked: ") and text in note
