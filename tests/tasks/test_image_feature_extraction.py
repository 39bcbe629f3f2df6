"""Embeddings equal what the models' own classes give; INT8 variants are near them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.recipe import ModelSpec
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.feature_extraction import FeatureExtraction
from quantbento.tasks.image_feature_extraction import ImageFeatureExtraction, ImageFeatureExtractionOptions
from quantbento.tasks.source import SampleSet
from tests.jobs import load_source, quantized
from tests.jobs import text_job as folder_job
from tests.tiny_images import VIT, picture, write_classifier, write_processor

IMAGES = [picture(40, 50, seed) for seed in range(6)]
TOWER = {**VIT, "projection_dim": 16}
TEXTS = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def write(folder, model, kind="ViTImageProcessor", **settings):
    model.save_pretrained(folder)
    return write_processor(folder, kind, **settings)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    return write(tmp_path_factory.mktemp("vit"), ViTModel(ViTConfig(**VIT)))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
    edge = {"size": {"shortest_edge": 32}}
    return write(tmp_path_factory.mktemp("resnet"), model, "ConvNextImageProcessor", **edge)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def dual(request, tmp_path_factory):
    """A model of images and texts."""
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    torch.manual_seed(0)
    kind, config = {"clip": (CLIPModel, CLIPConfig), "siglip": (SiglipModel, SiglipConfig)}[request.param]
    return write(tmp_path_factory.mktemp(request.param), kind(config(vision_config=TOWER, text_config=TEXTS)))


def source_of(folder):
    return load_source(ModelSpec(path=folder), "image-feature-extraction")


def task_of(source, **options):
    return ImageFeatureExtraction.create(source, ImageFeatureExtractionOptions(**options), SampleSet(IMAGES[:1]))


def embed(folder, **options):
    source = source_of(folder)
    task = task_of(source, **options)
    return np.stack(Predictor(task, TorchRuntime(source.module, None, task.output_names), {})(IMAGES))


def own(folder, take):
    """What the model gives for Transformers' own pixels."""
    from transformers import AutoImageProcessor, AutoModel

    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=IMAGES, return_tensors="pt")
    with torch.inference_mode():
        return take(AutoModel.from_pretrained(folder).eval(), pixels["pixel_values"]).numpy()


def test_the_pooled_output_is_the_pipelines(vit):
    from transformers import pipeline

    pooled = pipeline("image-feature-extraction", model=str(vit), pool=True)(IMAGES)
    np.testing.assert_allclose(embed(vit), np.asarray(pooled)[:, 0], atol=1e-5)
    np.testing.assert_array_equal(embed(vit), embed(vit, pooling="pooler"))


@pytest.mark.parametrize(
    ("pooling", "take"),
    [
        ("cls", lambda model, pixels: model(pixels).last_hidden_state[:, 0]),
        ("mean", lambda model, pixels: model(pixels).last_hidden_state.mean(1)),
    ],
)
def test_tokens_can_be_pooled_otherwise(vit, pooling, take):
    np.testing.assert_allclose(embed(vit, pooling=pooling), own(vit, take), atol=1e-5)


def test_convolutional_networks_have_a_map_to_pool(resnet):
    pooled = own(resnet, lambda model, pixels: model(pixels).pooler_output.flatten(1))
    np.testing.assert_allclose(embed(resnet), pooled, atol=1e-5)
    np.testing.assert_allclose(embed(resnet, pooling="mean"), pooled, atol=1e-5)
    with pytest.raises(QuantbentoError, match=r"pooling 'cls' is not possible .*; possible is 'pooler' or 'mean'"):
        embed(resnet, pooling="cls")


def test_the_image_side_of_a_model_of_images_and_texts_is_taken_alone(dual):
    from transformers import AutoModel

    wanted = own(dual, lambda model, pixels: model.get_image_features(pixel_values=pixels).pooler_output)
    np.testing.assert_allclose(embed(dual), wanted, atol=1e-5)
    source = source_of(dual)
    task_of(source)
    task_of(source)  # a second time changes nothing
    names = {name for name, _ in source.module.named_parameters()}
    assert not [name for name in names if "text" in name or "logit" in name]
    whole = sum(p.numel() for p in AutoModel.from_pretrained(dual).vision_model.parameters())
    assert sum(p.numel() for p in source.module.parameters()) >= whole


def test_a_pooler_without_trained_weights_is_not_used(tmp_path):
    """A classifier's checkpoint has none: Transformers makes them up."""
    folder = write_classifier(tmp_path)
    np.testing.assert_array_equal(embed(folder), embed(folder))
    np.testing.assert_array_equal(embed(folder), embed(folder, pooling="cls"))
    with pytest.raises(QuantbentoError, match="checkpoint has no weights for a pooler; possible is 'cls' or 'mean'"):
        embed(folder, pooling="pooler")


def test_embeddings_can_have_length_one(vit):
    np.testing.assert_allclose(np.linalg.norm(embed(vit, normalize=True), axis=1), 1, atol=1e-6)
    assert not np.allclose(np.linalg.norm(embed(vit), axis=1), 1, atol=1e-2)


def test_a_saved_task_reads_back_the_same(vit, tmp_path):
    source = source_of(vit)
    task = task_of(source, pooling="mean", normalize=True)
    again = ImageFeatureExtraction.load(tmp_path, json.loads(json.dumps(task.save(tmp_path))))
    runtime = TorchRuntime(source.module, None, task.output_names)
    assert np.array_equal(Predictor(again, runtime, {})(IMAGES), Predictor(task, runtime, {})(IMAGES))


def test_configurations_of_images_are_told_from_those_of_texts(vit, dual, resnet, tiny_encoder):
    for folder in (vit, dual, resnet, tiny_encoder):
        config = json.loads((folder / "config.json").read_text())
        assert ImageFeatureExtraction.suits(config) == (folder != tiny_encoder)
        assert FeatureExtraction.suits(config) == (folder == tiny_encoder)
    assert registry.task("image-feature-extraction") is ImageFeatureExtraction


@pytest.mark.parametrize("quantizer", ["torch-dynamic", "onnx-dynamic"])
def test_int8_keeps_the_embeddings(vit, quantizer, tmp_path):
    check_int8(vit, quantizer, 13, tmp_path)  # six layers in each of two blocks, and the pooler


@pytest.mark.parametrize("quantizer", ["torch-dynamic", "onnx-dynamic"])
def test_int8_of_the_image_side_alone(dual, quantizer, tmp_path):
    check_int8(dual, quantizer, 13, tmp_path)  # SigLIP's attention pool has some more


def check_int8(folder, quantizer, least, tmp_path):
    job = folder_job(folder, "image-feature-extraction", IMAGES, tmp_path)
    done, model = quantized(job, quantizer, tmp_path / "artifact")
    metrics = job.task.compare({"embedding": embed(folder)}, model.rows(IMAGES), None)
    assert sum(done.counts.values()) >= least
    assert 0.99 < metrics["min_cosine"] <= metrics["mean_cosine"] < 0.999999
    assert set(metrics) == set(ImageFeatureExtraction.metrics)
