"""The project's recipes: each model is as good as it says, and its INT8 variants keep that. Speeds are benchmarks'
business, so the measuring here is short and no gate on speed is held."""

from __future__ import annotations

import pytest

from quantbento import pipeline, store
from quantbento.recipe import Benchmark, load_recipe
from tests.conftest import ROOT, model_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """By recipe, made once; the store they are in is there for the tests."""
    folder = tmp_path_factory.mktemp("examples")
    made = {}

    def report(name: str):
        if name not in made:
            recipe = load_recipe(ROOT / "configs" / f"{name}.yaml")
            quick = Benchmark(items=8, rounds=3, latency_calls=10, memory=False)
            gates = [v.gates.model_copy(update={"min_speedup": None}) for v in recipe.variants]
            variants = [v.model_copy(update={"gates": g}) for v, g in zip(recipe.variants, gates, strict=True)]
            recipe = recipe.model_copy(update={"benchmark": quick, "variants": variants})
            made[name] = pipeline.save(recipe, output=folder / "reports")
        return made[name]

    with model_store(folder / "bentoml"):
        yield report


@pytest.mark.parametrize(("name", "accuracy"), [("two-moons", 1.0), ("digits", 0.97)])
def test_both_int8_variants_keep_the_accuracy(reports, name, accuracy):
    report = reports(name)
    assert report.exit_code == 0
    assert report.baseline.metrics["accuracy"] >= accuracy
    assert {v.name for v in report.variants} == {"torch-int8", "onnx-int8"}
    for variant in report.variants:
        assert variant.metrics["accuracy"] >= report.baseline.metrics["accuracy"] - 0.005
        assert variant.metrics["sqnr_db"] < 60  # nothing was quantized otherwise


def test_minilm_keeps_its_embeddings(reports):
    report = reports("minilm")
    assert report.exit_code == 0, report.variants
    onnx, torch = report.variants
    assert (onnx.name, torch.name) == ("onnx-int8", "torch-int8")
    assert 0.99 <= onnx.metrics["mean_cosine"] < 0.9999
    assert 0.97 <= torch.metrics["mean_cosine"] < 0.9999
    assert onnx.size_ratio <= 0.27
    assert {r.name for r in (report.baseline, *report.references)} == {"torch-fp32", "torch-bf16", "onnx-fp32"}


def test_a_stored_digit_classifier_takes_raw_images(reports):
    from sklearn.datasets import load_digits

    tag = next(v.tag for v in reports("digits").variants if v.name == "onnx-int8")
    data = load_digits()
    answers = store.load(tag)(list(data.images[:50]))
    right = sum(int(scores.argmax()) == digit for scores, digit in zip(answers, data.target[:50], strict=True))
    assert right >= 47
