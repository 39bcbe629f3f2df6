"""Every processor that is known gives what Transformers' own gives, bit by bit; any other is refused by its name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import transformers

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.image import reading
from quantbento.tasks.image.decoding import decoded
from quantbento.tasks.image.processor import ImageProcessor
from quantbento.tasks.image.reading import READERS, read_processor
from quantbento.tasks.source import SourceModel
from tests.tiny_images import file_of, picture, write_processor

SHAPES = [(300, 500), (501, 300), (50, 40), (7, 5), (64, 64), (225, 223), (400, 3)]
SMALL = {"size": {"height": 48, "width": 40}}
EDGE = {"size": {"shortest_edge": 48}}
CROP = {"do_center_crop": True, "crop_size": {"height": 40, "width": 44}}
SETTINGS = {
    "its own defaults": {},
    "small": SMALL,
    "edge and crop": EDGE | CROP,
    "crop larger than the image": SMALL | {"do_center_crop": True, "crop_size": {"height": 60, "width": 61}},
    "crop alone": {"do_resize": False} | CROP,
    "nearest": SMALL | {"resample": 0},
    "lanczos": SMALL | {"resample": 1},
    "not rescaled": SMALL | {"do_rescale": False},
    "another factor": SMALL | {"rescale_factor": 1 / 127.5},
    "not normalized": SMALL | {"do_normalize": False},
    "one mean": SMALL | {"image_mean": 0.4, "image_std": 0.3},
    "a size in numbers": {"size": 48, "crop_size": 40, "do_center_crop": True},
}
OWN = {
    "ConvNextImageProcessor": [{}, EDGE, EDGE | {"crop_pct": 0.95}, {"size": 48}, {"do_resize": False} | CROP],
    "EfficientNetImageProcessor": [SMALL, SMALL | {"rescale_offset": True}, SMALL | {"include_top": False}],
    "LevitImageProcessor": [{}, EDGE | CROP, SMALL],
    "MobileViTImageProcessor": [{}, EDGE | CROP, EDGE | CROP | {"do_flip_channel_order": False}],
    "PoolFormerImageProcessor": [{}, EDGE | CROP, SMALL | CROP, {"size": {"height": 48, "width": 48}} | CROP],
}
CASES = [("ViTImageProcessor", settings) for settings in SETTINGS.values()]
CASES += [(kind, settings) for kind, several in OWN.items() for settings in several]
CASES += [(kind, {}) for kind in READERS if kind not in OWN and kind != "SegformerImageProcessor"]


def read(folder) -> ImageProcessor:
    return read_processor(SourceModel(folder=folder))


def theirs(folder):
    return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_it_gives_the_same_values_as_transformers(kind, settings, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind} | settings))
    mine, own = read(tmp_path), theirs(tmp_path)
    for number, shape in enumerate(SHAPES):
        image = picture(*shape, seed=number)
        found = mine.batch([mine.pixels(image, 10**8)])[0]
        assert np.array_equal(found, own(images=[image], return_tensors="np")["pixel_values"][0]), shape


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "1"])
def test_images_of_every_mode_go_the_way_of_the_pipeline(mode, tmp_path):
    from transformers.image_utils import load_image

    image = picture(mode="L").point(lambda v: v * 256, "I").convert("I;16") if mode == "I;16" else picture(mode=mode)
    data = file_of(image, "JPEG" if mode == "CMYK" else "PNG")
    write_processor(tmp_path)
    (tmp_path / "image").write_bytes(data)
    mine = read(tmp_path)
    expected = theirs(tmp_path)(load_image(str(tmp_path / "image")), return_tensors="np")["pixel_values"][0]
    assert np.array_equal(mine.batch([mine.pixels(decoded(data, 10**8), 10**8)])[0], expected)


def test_older_names_of_processors_are_understood(tmp_path):
    settings = {"feature_extractor_type": "ViTFeatureExtractor", "size": 48, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert read(tmp_path) == ImageProcessor((48, 48), 3, None, 1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)
    write_processor(tmp_path, "ViTImageProcessorFast")
    assert read(tmp_path).size == (32, 32)


REFUSED = {
    "another type": (
        "PerceiverImageProcessor",
        {},
        r"with PerceiverImageProcessor, .* known are 'ViTImage",
    ),
    "padding": ("ViTImageProcessor", {"do_pad": True}, "ViTImageProcessor has do_pad set, which is not known here"),
    "two edges": ("CLIPImageProcessor", {"size": {"shortest_edge": 9, "longest_edge": 20}}, "'longest_edge': 20"),
    "no size": ("BitImageProcessor", {"do_center_crop": False}, "leaves images of different sizes"),
    "one channel": ("ViTImageProcessor", {"image_mean": [0.5], "image_std": [0.5]}, "for 1 channels; images have 3"),
    "two crops": ("ConvNextImageProcessor", EDGE | CROP, "known with a size of shortest_edge, and without a crop"),
}


@pytest.mark.parametrize(("kind", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_refused_by_its_name(kind, settings, message, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind} | settings))
    with pytest.raises(QuantbentoError, match=message):
        read(tmp_path)


def test_a_folder_without_a_processor_is_told_how_to_get_one(tmp_path):
    with pytest.raises(QuantbentoError, match=r"AutoImageProcessor\.from_pretrained\(MODEL\)\.save_pretrained\('/"):
        read(tmp_path)
    with pytest.raises(QuantbentoError, match="a factory returns the folder's path"):
        read_processor(SourceModel())


def test_a_difference_to_transformers_is_an_error(tmp_path, monkeypatch):
    def blurred(common, own):
        return ImageProcessor(**{**common.to_json(), "resample": 3})

    write_processor(tmp_path)
    monkeypatch.setitem(reading.READERS, "ViTImageProcessor", blurred)
    with pytest.raises(QuantbentoError, match="ViTImageProcessor of Transformers prepares images otherwise"):
        read(tmp_path)
