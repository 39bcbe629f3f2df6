"""The project's recipes: each model is as good as it says, and its INT8 variants keep that. The benchmarks measure
speed, so measuring is short here and no gate on speed is checked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quantbento import store
from quantbento.making import pipeline
from quantbento.recipe import Benchmark, load_recipe
from tests.conftest import ROOT, model_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Returns the report of a recipe, made once. The tests can use the store that holds its variants."""
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
    openvino, onnx, torch = report.variants
    assert (openvino.name, onnx.name, torch.name) == ("openvino-int8", "onnx-int8", "torch-int8")
    assert 0.995 <= openvino.metrics["mean_cosine"] < 0.9999
    assert openvino.metrics["similarity_spearman"] >= 0.995
    assert 0.998 <= onnx.metrics["mean_cosine"] < 0.9999
    assert 0.97 <= torch.metrics["mean_cosine"] < 0.9999
    assert onnx.size_ratio <= 0.27
    references = {r.name for r in (report.baseline, *report.references)}
    assert {"torch-fp32", "torch-bf16", "onnx-fp32", "openvino-fp32"} <= references


def test_digits_are_read_from_image_files(reports):
    report = reports("digits-images")
    assert report.exit_code == 0
    assert report.baseline.metrics["accuracy"] >= 0.95
    for variant in report.variants:
        assert variant.metrics["accuracy"] >= report.baseline.metrics["accuracy"] - 0.01
        assert variant.metrics["top5_accuracy"] >= 0.99
        assert variant.metrics["max_probability_difference"] > 0


def test_the_digits_are_an_image_folder():
    """A recipe's `path:` can name it as well as the factory."""
    from examples.digit_images import held_out
    from quantbento.inputs.samples import load_samples
    from quantbento.recipe import Samples
    from quantbento.tasks.image_classification import ImageClassification as Task

    files, labels = held_out()
    samples = load_samples(Samples(path=files[0].parent.parent), Task.fields, Task.suffixes)
    assert (samples.inputs, samples.labels) == (files, labels)
    assert len(files) == 400


def test_a_stored_digit_classifier_takes_raw_images(reports):
    from sklearn.datasets import load_digits

    tag = next(v.tag for v in reports("digits").variants if v.name == "onnx-int8")
    data = load_digits()
    answers = store.load(tag)(list(data.images[:50]))
    right = sum(int(scores.argmax()) == digit for scores, digit in zip(answers, data.target[:50], strict=True))
    assert right >= 47


SCRIPTS = [
    "examples.container",
    "benchmarks.call_sizes",
    "benchmarks.serving",
    "benchmarks.encoders",
    "benchmarks.llm_service",
    "benchmarks.ocr_recogniser",
    "benchmarks.quantization_time",
]


@pytest.mark.parametrize("module", SCRIPTS)
def test_a_script_runs_as_a_module_from_the_projects_root(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m {module}" in done.stdout


@pytest.fixture(scope="module")
def tiny_llama():
    """The folder of the project's own language model; trained here if it is not cached."""
    from examples import tiny_llama

    return tiny_llama.model()


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture
def untrained(monkeypatch, tmp_path):
    """The module with its own cache and source file; its training only counts the calls."""
    from examples import tiny_llama

    def train(folder):
        trained.append(folder)
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    trained = []
    source = tmp_path / "tiny_llama.py"
    source.write_text("HIDDEN = 512\n")
    monkeypatch.setattr(tiny_llama, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(tiny_llama, "__file__", str(source))
    monkeypatch.setattr(tiny_llama, "_train", train)
    return tiny_llama, source, trained


def test_every_linear_dimension_of_the_tiny_llama_is_a_multiple_of_128(tiny_llama):
    from safetensors import safe_open

    with safe_open(tiny_llama / "model.safetensors", "pt") as file:
        matrices = {name: file.get_slice(name) for name in file.keys() if "norm" not in name}  # noqa: SIM118
        assert "lm_head.weight" in matrices and len(matrices) == 2 + 2 * 7
        assert {matrix.get_dtype() for matrix in matrices.values()} == {"BF16"}
        odd = {n: m.get_shape() for n, m in matrices.items() if any(size % 128 for size in m.get_shape())}
    assert not odd


def test_the_tiny_llama_predicts_files_it_has_never_seen(tiny_llama, tokenizer):
    import math

    import torch
    from transformers import AutoModelForCausalLM

    from examples.tiny_llama import held_out

    tokens = [token for text in held_out() for token in tokenizer(text, verbose=False)["input_ids"]]
    windows = torch.tensor(tokens[: 64 * 256]).view(64, 256)
    network = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    with torch.inference_mode():
        losses = [network(input_ids=batch, labels=batch).loss.item() for batch in windows.split(16)]
    assert math.exp(sum(losses) / len(losses)) <= 45


def test_held_out_files_are_in_no_way_trained_on():
    from examples.tiny_llama import calibration, held_out

    seen, unseen = calibration(), held_out()
    assert len(unseen) >= 8 and len(seen) >= 10 * len(unseen)
    assert not set(seen) & set(unseen)
    assert (seen, unseen) == (calibration(), held_out())


def test_the_tiny_llamas_tokenizer_gives_back_every_space(tokenizer):
    from examples.tiny_llama import held_out

    for text in (*held_out(), "\tdef f( ):\r\n\n        return  'é' \n  ", "if x :\n\t\tpass  # 漢字"):
        assert tokenizer.decode(tokenizer(text, verbose=False)["input_ids"]) == text
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}) == 3


def test_the_tiny_llama_takes_a_message_as_a_comment(tokenizer):
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "sum\nof two"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt == tokenizer.bos_token + "# sum\n# of two\n"


def test_a_second_call_takes_the_tiny_llama_from_the_cache(untrained):
    tiny_llama, _, trained = untrained
    assert tiny_llama.model() == tiny_llama.model()
    assert len(trained) == 1


def test_changed_code_trains_another_tiny_llama(untrained):
    tiny_llama, source, trained = untrained
    before = tiny_llama.model()
    source.write_text("HIDDEN = 256\n")
    assert tiny_llama.model() != before
    assert len(trained) == 2


def test_an_interrupted_training_leaves_no_tiny_llama(untrained, monkeypatch):
    tiny_llama, _, trained = untrained
    finish = tiny_llama._train

    def stop_half_way(folder):
        folder.mkdir()
        (folder / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny_llama, "_train", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        tiny_llama.model()
    assert not [path for path in tiny_llama.CACHE.iterdir() if path.is_dir() and path.suffix != ".staging"]
    monkeypatch.setattr(tiny_llama, "_train", finish)
    assert [path.name for path in tiny_llama.model().iterdir()] == ["config.json"]
    assert len(trained) == 1
