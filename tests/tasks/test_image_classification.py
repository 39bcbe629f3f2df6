"""Labels and scores equal those of the Transformers pipeline; INT8 variants keep them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.judging import robustness
from quantbento.recipe import ModelSpec
from quantbento.runtimes.onnx import OnnxRuntime
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.image_classification import ImageClassification, ImageClassificationOptions
from quantbento.tasks.source import SampleSet
from tests.jobs import load_source, quantized
from tests.jobs import text_job as folder_job
from tests.tiny_images import LABELS, SIZE, file_of, picture, write_classifier, write_processor

IMAGES = [picture(40 + seed, 50, seed, mode) for seed, mode in enumerate(["RGB", "L", "RGBA", "P", "CMYK"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def source(folder):
    return load_source(ModelSpec(path=folder), "image-classification")


def task_of(source, sample_labels=None, **options):
    samples = SampleSet(IMAGES[:2], sample_labels)
    return ImageClassification.create(source, ImageClassificationOptions(**options), samples)


def model_of(source, **options):
    return Predictor(task_of(source, **options), TorchRuntime(source.module, None, ["logits"]), {})


def check_against_pipeline(found, folder, **settings):
    from transformers import pipeline

    expected = pipeline("image-classification", model=str(folder))(IMAGES, **settings)
    assert [[a["label"] for a in answers] for answers in found] == [[a["label"] for a in e] for e in expected]
    scores = [[[a["score"] for a in answers] for answers in several] for several in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_answers_equal_the_pipeline(source, folder):
    found = model_of(source)(IMAGES)
    check_against_pipeline(found, folder)
    assert len({answers[0]["label"] for answers in found}) > 1
    assert [len(answers) for answers in found] == [5] * 5


@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_the_number_of_labels_is_the_recipes_or_the_requests(source, folder, top_k):
    check_against_pipeline(model_of(source, top_k=top_k)(IMAGES), folder, top_k=top_k)
    items = [{"image": image, "top_k": top_k} for image in IMAGES]
    check_against_pipeline(model_of(source)(items), folder, top_k=top_k)


def test_requests_of_one_batch_get_what_each_wanted(source):
    found = model_of(source, top_k=2)([{"image": IMAGES[0], "top_k": 4}, IMAGES[1], {"image": IMAGES[2], "top_k": 1}])
    assert [len(answers) for answers in found] == [4, 2, 1]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"image": IMAGES[0], "top_k": 0}, "top_k must be a whole number from 1 up, not 0"),
        ({"image": IMAGES[0], "top_k": True}, "not True"),
        ({"image": IMAGES[0], "top_k": 1.0}, "not 1.0"),
        ({"image": "", "top_k": 1}, "the image is empty"),
        ({"image": IMAGES[0]}, r'must be an image, or \{"image": ..., "top_k": ...\}'),
        ({"path": "/etc/hostname", "bytes": None}, "must be an image"),
    ],
)
def test_wrong_items_are_refused(source, item, message):
    with pytest.raises(InvalidInput, match=f"item 1: .*{message}"):
        model_of(source).check([IMAGES[0], item])


def test_several_labels_an_image_equal_the_pipeline(tmp_path):
    folder = write_classifier(tmp_path, problem_type="multi_label_classification")
    source = load_source(ModelSpec(path=folder), "image-classification")
    check_against_pipeline(model_of(source)(IMAGES), folder)
    metrics = task_of(source).compare(*[{"probabilities": np.full((2, 8), 0.7, np.float32)}] * 2, [["kind 1"], [2, 3]])
    assert metrics["f1_micro"] == pytest.approx(2 * 3 / (3 + 16))
    assert set(metrics) == set(ImageClassification.measured({"problem_type": "multi_label_classification"}))


def test_metrics(source):
    task = task_of(source)
    b = np.array([[8, 7, 6, 5, 4, 3, 2, 1]] * 4, np.float32) / 36
    v = np.roll(b, 1, axis=1)  # the last label, which was the least probable, is now the second; the second is best
    v[0] = b[0]
    metrics = task.compare({"probabilities": b}, {"probabilities": v}, ["kind 0", 1, "kind 5", "kind 7"])
    assert metrics == {
        "accuracy": 0.5,
        "f1_macro": 0.375,  # the mean of 1, 1/2, 0 and 0
        "mcc": pytest.approx(4 / 72**0.5),
        "top5_accuracy": 0.75,
        "agreement": 0.25,
        "max_probability_difference": pytest.approx(7 / 36),
    }
    assert set(metrics) == set(ImageClassification.measured({"id2label": dict(enumerate(LABELS))}))
    assert "top5_accuracy" not in ImageClassification.measured({"id2label": {0: "a", 1: "b"}})
    assert set(task.compare({"probabilities": b}, {"probabilities": v}, None)) == {
        "agreement",
        "max_probability_difference",
    }


def test_it_is_tried_on_noise_and_blur(source):
    model = model_of(source)
    found = robustness.examine(model, IMAGES, robustness.baseline_rows(model, IMAGES))
    assert [entry["case"] for entry in found] == ["noise", "blur", "black", "white"]
    assert all(entry["shape"] and entry["finite"] and entry["distance"]["agreement"] == 1 for entry in found)


def test_a_sample_label_the_model_lacks_is_refused(source):
    with pytest.raises(QuantbentoError, match=r"\['cat'\] are none of the model's: 'kind 0', "):
        task_of(source, sample_labels=["kind 1", "cat"])


@pytest.mark.parametrize(
    ("config", "labels", "message"),
    [
        ({}, ["score"], "with 1 outputs; image-classification needs two or more"),
        ({"problem_type": "regression"}, LABELS, "is a model for regression with 8 outputs"),
    ],
    ids=["one output", "regression"],
)
def test_models_of_another_kind_are_refused(tmp_path, config, labels, message):
    source = load_source(ModelSpec(path=write_classifier(tmp_path, labels, **config)), "image-classification")
    with pytest.raises(QuantbentoError, match=message):
        task_of(source)


def test_a_saved_task_reads_back_the_same(source, tmp_path):
    task = task_of(source, top_k=2, max_pixels=5000)
    again = ImageClassification.load(tmp_path, json.loads(json.dumps(task.save(tmp_path))))
    runtime = TorchRuntime(source.module, None, ["logits"])
    assert Predictor(again, runtime, {})(IMAGES) == Predictor(task, runtime, {})(IMAGES)
    with pytest.raises(InvalidInput, match="allowed are 5,000"):
        again.check(picture(100, 100))


@pytest.mark.parametrize("quantizer", ["torch-dynamic", "onnx-dynamic"])
def test_int8_keeps_the_answers(folder, quantizer, tmp_path):
    files = [file_of(picture(seed=seed)) for seed in range(12)]
    job = folder_job(folder, "image-classification", files, tmp_path)
    done, model = quantized(job, quantizer, tmp_path / "artifact")
    baseline = Predictor(job.task, TorchRuntime(job.source.module, None, ["logits"]), {})
    metrics = job.task.compare(baseline.rows(files), model.rows(files), None)
    assert sum(done.counts.values()) == 13  # six linear layers in each of two blocks, and the head
    assert metrics["agreement"] >= 11 / 12
    assert 0 < metrics["max_probability_difference"] < 0.1
    assert model(files[:1]) == [model(files)[0]] or quantizer == "torch-dynamic"


def test_attention_in_windows_is_exported_too(tmp_path):
    import torch
    from transformers import SwinConfig, SwinForImageClassification

    torch.manual_seed(0)
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    config = SwinConfig(
        image_size=SIZE, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, **names
    )
    SwinForImageClassification(config).save_pretrained(tmp_path / "model")
    job = folder_job(write_processor(tmp_path / "model"), "image-classification", IMAGES, tmp_path)
    fused = job.source.module.config._attn_implementation
    baseline = Predictor(job.task, TorchRuntime(job.source.module, None, ["logits"]), {})
    exported = Predictor(job.task, OnnxRuntime.load(job.onnx().parent, {}, threads=1), {})
    for images in (IMAGES[:1], IMAGES):
        metrics = job.task.compare(baseline.rows(images), exported.rows(images), None)
        assert metrics["max_probability_difference"] < 1e-5
    assert job.source.module.config._attn_implementation == fused != "eager"
