"""The whole pipeline, twice: a PyTorch text classifier in three variants, and a user's own ONNX file."""

import contextlib
import json
import sys
import time
from typing import ClassVar

import numpy as np
import pytest

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.source import NamedModel
from quantbento.judging.report import card
from quantbento.making import pipeline
from quantbento.quantizers.onnx.dynamic import OnnxDynamic
from tests.conftest import labelled_texts, model_store
from tests.jobs import numbers, onnx_file, run_elsewhere
from tests.trained_llama import texts

BENCHMARK = {"items": 4, "rounds": 3, "latency_calls": 10}
PREPROCESS = '''
def preprocess(review):
    """The text of a review."""
    return review["text"]
'''
ANSWERS = """
import json, sys, quantbento
print(json.dumps(quantbento.load(sys.argv[1])([{"text": text} for text in json.loads(sys.argv[2])])))
"""


@pytest.fixture(scope="module")
def classifier_recipe(tiny_classifier, tmp_path_factory):
    """A project with a recipe, samples, and a function that is stored with the model; the run starts in its folder."""
    project = tmp_path_factory.mktemp("project")
    (project / "project_of_reviews.py").write_text(PREPROCESS)
    rows = zip(*labelled_texts(40, seed=2), strict=True)
    samples = [{"text": {"text": text}, "label": label} for text, label in rows]
    (project / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)))
    return project, {
        "schema_version": 1,
        "name": "reviews",
        "description": "Good words and bad ones",
        "task": "text-classification",
        "model": {"path": str(tiny_classifier)},
        "custom_objects": {"preprocess": "project_of_reviews:preprocess"},
        "evaluation": {"path": str(project / "samples.jsonl")},
        "benchmark": BENCHMARK | {"memory": False},  # every process that imports transformers is slow
        "gates": {"max_drop": {"accuracy": 0.1}},
        "labels": {"team": "tests"},
        "variants": [
            {"name": "torch-int8", "quantizer": "torch-dynamic"},
            {"name": "doomed", "quantizer": "onnx-dynamic", "gates": {"max_size_ratio": 0.001}},
            {"name": "onnx-int8", "quantizer": "onnx-dynamic"},
        ],
    }


@pytest.fixture(scope="module")
def report(classifier_recipe):
    project, recipe = classifier_recipe
    with model_store(project / "bentoml"), pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return pipeline.save(recipe, output=project / "reports")


@pytest.fixture
def stored(report, classifier_recipe, monkeypatch):
    """The report, with the store that holds its variants."""
    project, _ = classifier_recipe
    monkeypatch.chdir(project)
    with model_store(project / "bentoml"):
        yield report


@pytest.fixture
def own_recipe(tmp_path, monkeypatch, bento_home):
    """A recipe for an ONNX file: one variant is good, one fails a gate, one names nodes the graph does not have."""
    onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["x", "w"], ["y"])],
        {"x": ["batch", 64]},
        {"y": ["batch", 32]},
        {"w": numbers(64, 32)},
    )
    np.savez(tmp_path / "samples.npz", x=numbers(20, 64, seed=1))
    monkeypatch.chdir(tmp_path)
    return {
        "schema_version": 1,
        "name": "own",
        "task": "tensor",
        "model": {"onnx": "own.onnx"},
        "evaluation": {"path": "samples.npz"},
        "benchmark": BENCHMARK,
        "variants": [
            {"name": "mistaken", "quantizer": "onnx-dynamic", "options": {"exclude_nodes": ["head"]}},
            {"name": "failing", "quantizer": "onnx-dynamic", "gates": {"min": {"sqnr_db": 150}}},
            {"name": "sound", "quantizer": "onnx-dynamic", "gates": {"min": {"sqnr_db": 20}}},
        ],
    }


def rows_of(report):
    return {row.name: row for row in report.variants}


def test_a_failed_gate_fails_the_run_and_only_its_variant(stored):
    rows = rows_of(stored)
    assert stored.exit_code == 1
    assert {name: row.passed for name, row in rows.items()} == {"torch-int8": True, "doomed": False, "onnx-int8": True}
    assert rows["doomed"].tag is None
    assert [g["metric"] for g in rows["doomed"].gates if not g["passed"]] == ["size_ratio"]
    assert {m.tag for m in store.models()} == {rows["torch-int8"].tag, rows["onnx-int8"].tag}


def test_what_is_stored_is_what_was_judged(stored):
    for name in ("torch-int8", "onnx-int8"):
        row = rows_of(stored)[name]
        model = store.find(f"reviews-{name}")
        manifest = model.verify()
        assert model.tag == row.tag
        assert manifest["variant"]["metrics"] == row.metrics
        assert manifest["recipe"]["name"] == "reviews"
        assert manifest["variant"]["size_bytes"] == sum(
            (model.path / file).stat().st_size for file in manifest["files"].keys() - {card.CARD, card.RESULTS}
        )


def test_stored_models_carry_labels_and_figures(stored):
    import bentoml

    row = rows_of(stored)["onnx-int8"]
    model = bentoml.models.get(row.tag)
    assert model.info.labels == {
        "team": "tests",
        "recipe": "reviews",
        "task": "text-classification",
        "quantizer": "onnx-dynamic",
        "scheme": "int8-dynamic",
        "runtime": "onnx",
        "passed": "true",
    }
    assert model.info.metadata["accuracy"] == row.metrics["accuracy"]
    assert model.info.metadata["description"] == "Good words and bad ones"


def test_the_report_has_every_key_of_its_contract(report):
    written = json.loads(report.path.read_text())
    assert report.path.parts[-3:] == ("reports", "reviews", "report.json")
    assert written == json.loads(json.dumps(report.as_json()))
    assert {"schema_version", "recipe", "task", "baseline", "variants", "environment"} <= written.keys()
    assert (written["schema_version"], written["recipe"], written["task"]) == (1, "reviews", "text-classification")
    assert {"size_bytes", "metrics", "latency_ms", "throughput"} <= written["baseline"].keys()
    assert written["baseline"]["latency_ms"].keys() == {"p50", "p90", "p99"}
    assert [r["name"] for r in written["references"]] == ["torch-bf16", "onnx-fp32"]
    assert [v["name"] for v in written["variants"]] == ["torch-int8", "doomed", "onnx-int8"]
    for row in written["variants"]:
        keys = "name quantizer options runtime tag size_bytes size_ratio metrics recovery speedup peak_memory_bytes"
        assert {*keys.split(), "quantize_seconds", "gates", "passed"} <= row.keys()
        assert row["speedup"].keys() == {"median", "p10", "p90"}
        assert all(g.keys() >= {"metric", "rule", "limit", "value", "passed"} for g in row["gates"])
        assert row["gates"][0]["metric"] == "accuracy"
    assert {"python", "packages", "cpu", "cpu_flags", "threads", "gpu"} <= written["environment"].keys()


def test_figures_are_plausible(report):
    assert report.baseline.metrics["accuracy"] > 0.9
    for row in report.variants:
        assert row.metrics["accuracy"] > 0.8
        assert row.size_ratio == row.size_bytes / report.baseline.size_bytes
        assert row.recovery["agreement"] == row.metrics["agreement"]
        assert row.speedup["median"] > 0
        assert row.peak_memory_bytes is None
        assert 0 < row.quantized["parameters"] < row.quantized["of_parameters"]
    assert rows_of(report)["torch-int8"].size_ratio < 0.9


def test_a_second_run_reuses_what_is_stored(stored, classifier_recipe, monkeypatch):
    def fail(*_):
        raise AssertionError("the model was loaded")

    project, recipe = classifier_recipe
    monkeypatch.setattr(NamedModel, "load", fail)
    start = time.perf_counter()
    again = pipeline.save(recipe, variants=["onnx-int8", "torch-int8"], output=project / "again")
    assert time.perf_counter() - start < 5
    assert again.exit_code == 0
    assert {row.name: row.tag for row in again.variants} == {
        name: row.tag for name, row in rows_of(stored).items() if row.tag
    }
    assert all(row.reused for row in again.variants)
    assert again.baseline == stored.baseline
    with pytest.raises(AssertionError, match="the model was loaded"):
        pipeline.save(recipe, variants=["doomed"], output=project / "again")
    with pytest.raises(AssertionError, match="the model was loaded"):
        pipeline.save(recipe, variants=["torch-int8"], output=project / "again", force=True)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["torch-int8", "onnx-int8"])
def test_a_stored_model_answers_where_the_project_is_not(stored, variant, tmp_path):
    texts, labels = labelled_texts(6, seed=8)
    tag = rows_of(stored)[variant].tag
    answers = json.loads(run_elsewhere(ANSWERS, tmp_path, tag, json.dumps(texts)))
    assert answers == store.load(tag, threads=1)([{"text": text} for text in texts])
    assert [a["label"] for a in answers] == ["positive" if label else "negative" for label in labels]


def test_an_error_in_one_variant_leaves_the_others(own_recipe, tmp_path):
    report = pipeline.save(own_recipe, output=tmp_path)
    rows = rows_of(report)
    assert report.exit_code == 2
    assert "the pattern 'head' matches no node" in rows["mistaken"].error
    assert rows["sound"].passed and rows["sound"].error is None
    assert rows["sound"].peak_memory_bytes > 10e6
    assert [m.tag for m in store.models()] == [rows["sound"].tag]
    assert json.loads(report.path.read_text())["variants"][0]["error"] == rows["mistaken"].error


def test_failed_variants_are_kept_when_asked_for_and_never_reused(own_recipe, tmp_path):
    import bentoml

    del own_recipe["variants"][0]
    report = pipeline.save(own_recipe, output=tmp_path, keep_failed=True)
    rows = rows_of(report)
    assert report.exit_code == 1
    stored = {m.tag: bentoml.models.get(m.tag).info.labels["passed"] for m in store.models()}
    assert stored == {rows["failing"].tag: "false", rows["sound"].tag: "true"}
    again = rows_of(pipeline.save(own_recipe, output=tmp_path))
    assert (again["sound"].reused, again["failing"].reused) == (True, False)
    assert again["failing"].tag is None


def test_a_changed_recipe_makes_its_variants_anew(own_recipe, tmp_path):
    own_recipe["variants"] = own_recipe["variants"][2:]
    first = pipeline.save(own_recipe, output=tmp_path)
    own_recipe["variants"][0]["options"] = {"per_channel": False}
    second = pipeline.save(own_recipe, output=tmp_path)
    assert not second.variants[0].reused
    assert second.variants[0].tag != first.variants[0].tag
    assert len(store.models()) == 2


def test_the_run_leaves_nothing_of_the_project_importable(report):
    assert not any("project-" in place for place in sys.path)


def language_recipe(model, folder, variants, **more):
    """A recipe of the text-generation task with as little work as possible."""
    seen, unseen = texts()
    for name, lines in (("seen", seen), ("unseen", unseen)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in lines))
    return {
        "schema_version": 1,
        "name": "tiny",
        "task": "text-generation",
        "task_options": {"window": 64, "windows": 8, "prompt_tokens": 8, "new_tokens": 4, "chat_template": False}
        | more.pop("task_options", {}),
        "model": {"path": str(model)},
        "evaluation": {"path": str(folder / "unseen.jsonl")},
        "calibration": {"path": str(folder / "seen.jsonl"), "sequences": 8, "sequence_length": 64},
        "benchmark": {"items": 2, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        "gates": {"min_recovery": {"perplexity": 0.9}},
        "variants": variants,
    } | more


@pytest.mark.slow
def test_a_language_model_one_engine_at_a_time(trained_llama, bento_home, tmp_path):
    """`paired: false`, with two kinds of variants for Transformers: a checkpoint and a pickled module."""
    variants = [
        {"name": "nf4", "quantizer": "bnb-nf4"},
        {"name": "int8", "quantizer": "torch-dynamic", "gates": {"max_size_ratio": 0.01}},
    ]
    recipe = language_recipe(trained_llama, tmp_path, variants)
    del recipe["calibration"]
    recipe["benchmark"] |= {"paired": False, "memory": True}
    report = pipeline.save(recipe, output=tmp_path)
    rows = rows_of(report)
    assert {name: row.error for name, row in rows.items()} == {"nf4": None, "int8": None}
    assert (rows["nf4"].passed, rows["int8"].passed, report.exit_code) == (True, False, 1)

    written = json.loads(report.path.read_text())
    assert written["throughput_unit"] == "tokens/s"
    assert (written["baseline"]["name"], written["references"]) == ("transformers-bf16", [])
    assert written["baseline"]["metrics"]["agreement"] == 1
    nf4, int8 = written["variants"]
    assert (nf4["runtime"], nf4["scheme"]) == ("transformers", "NF4")
    assert 0.25 < nf4["quantized"]["weight_ratio"] < 0.27 and int8["quantized"]["weight_ratio"] is None
    for row in (nf4, int8):
        ratio = written["baseline"]["metrics"]["perplexity"] / row["metrics"]["perplexity"]
        assert row["recovery"]["perplexity"] == pytest.approx(ratio)
        assert "kl_divergence" not in row["recovery"]
        assert row["metrics"]["kl_divergence"] > 0
        assert row["sample"].keys() == {"prompt", "text"}
        assert texts()[1][0].startswith(row["sample"]["prompt"])
        assert row["peak_memory_bytes"] > 100e6
        assert row["throughput"] > 0

    generator = store.load(rows["nf4"].tag, threads=1)
    assert generator.sample(texts()[1]) == nf4["sample"]
    assert [m.tag for m in store.models()] == [rows["nf4"].tag]


@pytest.mark.slow
@pytest.mark.vllm
def test_a_language_model_in_int4_is_judged_and_stored_for_vllm(trained_llama, bento_home, tmp_path):
    import quantbento

    engine = {"kv_cache_gib": 0.25, "max_model_len": 128}
    variants = [{"name": "rtn", "quantizer": "rtn"}]
    recipe = language_recipe(trained_llama, tmp_path, variants, task_options={"engine": engine})
    del recipe["calibration"]
    recipe["benchmark"]["memory"] = True
    report = pipeline.save(recipe, output=tmp_path)
    assert report.exit_code == 0, report.variants
    [row] = report.variants
    assert (report.baseline.name, row.runtime, row.scheme) == ("vllm-bf16", "vllm", "W4A16")
    assert row.quantized["weight_ratio"] <= 0.30
    assert row.recovery["perplexity"] > 0.9
    assert row.peak_memory_bytes > 300e6
    assert row.quantized["counts"] == {"W4A16 layers": 14}
    model = store.find("tiny-rtn")
    assert model.verify()["variant"]["sample"] == row.sample
    assert json.loads((model.path / "artifact.json").read_text())["runtime_config"] == {"engine": engine}
    with contextlib.closing(quantbento.load(row.tag)) as generator:
        assert generator.sample(texts()[1]) == row.sample


class Sampled(OnnxDynamic):
    """Records what it was given."""

    seen: ClassVar[dict] = {}

    def quantize(self, job, options, folder):
        self.seen[self.name] = job
        return super().quantize(job, options, folder)


class Calibrating(Sampled):
    name = "calibrating"
    data = "calibration"


class Training(Sampled):
    name = "training"
    data = "training"


@pytest.mark.slow
def test_quantizers_of_arrays_get_calibration_and_training_samples_and_never_those_they_are_judged_on(
    tmp_path, bento_home
):
    samples = {kind: numbers(70, 2, seed=seed) for seed, kind in enumerate(("evaluation", "calibration", "training"))}
    for kind, array in samples.items():
        np.savez(tmp_path / f"{kind}.npz", points=array, label=(array[:, 0] > 0).astype(np.int64))
    recipe = {
        "schema_version": 1,
        "name": "sampled",
        "task": "tensor",
        "model": {"factory": "examples.two_moons:model"},
        "custom_objects": {"preprocess": f"{__name__}:halve_named"},
        **{kind: {"path": str(tmp_path / f"{kind}.npz")} for kind in samples},
        "benchmark": BENCHMARK | {"memory": False},
        "variants": [{"name": n, "quantizer": f"{__name__}:{n.title()}"} for n in ("calibrating", "training")],
    }
    report = pipeline.save(recipe, output=tmp_path)
    assert [row.error for row in report.variants] == [None, None]
    job = Sampled.seen["calibrating"]
    assert [len(batch["points"]) for batch in job.calibration] == [64, 6]  # as the task runs them
    np.testing.assert_array_equal(np.concatenate([b["points"] for b in job.calibration]), samples["calibration"] / 2)
    training = Sampled.seen["training"].training
    np.testing.assert_array_equal(np.stack([item["points"] for item in training.inputs]), samples["training"] / 2)
    assert training.labels == (samples["training"][:, 0] > 0).astype(int).tolist()
    judged_on = samples["evaluation"][0] / 2
    for example in [*job.task.examples(), *job.calibration, *training.inputs]:
        assert not any((row == judged_on).all() for row in np.atleast_2d(example["points"]))


def halve_named(item):
    return {"points": np.asarray(item["points"]) / 2}


def fails(item):
    raise KeyError("no such column")


def test_a_preprocess_that_fails_on_the_samples_is_one_error(tmp_path, bento_home):
    recipe = {
        "schema_version": 1,
        "name": "failing",
        "task": "tensor",
        "model": {"factory": "examples.two_moons:model"},
        "custom_objects": {"preprocess": f"{__name__}:fails"},
        "evaluation": {"factory": "examples.two_moons:held_out"},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    }
    with pytest.raises(QuantbentoError, match="preprocess failed on an evaluation sample: KeyError: 'no such column'"):
        pipeline.save(recipe, output=tmp_path)


COUNTED = """
from examples import two_moons
def model():
    print("model", file=open("calls.txt", "a"))
    return two_moons.model()
def samples():
    print("samples", file=open("calls.txt", "a"))
    return two_moons.held_out()
"""


def test_the_users_functions_are_called_once(tmp_path, bento_home, monkeypatch):
    (tmp_path / "counted_calls.py").write_text(COUNTED)
    monkeypatch.chdir(tmp_path)
    recipe = {
        "schema_version": 1,
        "name": "counted",
        "task": "tensor",
        "model": {"factory": "counted_calls:model"},
        "evaluation": {"factory": "counted_calls:samples"},
        "benchmark": BENCHMARK | {"memory": False},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    }
    assert pipeline.save(recipe, output=tmp_path).exit_code == 0
    assert sorted((tmp_path / "calls.txt").read_text().split()) == ["model", "samples"]
