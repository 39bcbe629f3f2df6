"""Resizing, cropping and arithmetic on images of which one can say what must come out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from quantbento.core.errors import InvalidInput
from quantbento.tasks.image.processor import ImageProcessor
from tests.tiny_images import picture

NEAREST, BILINEAR = 0, 2
ENOUGH = 1_000_000


def test_an_item_is_resized_and_kept_as_bytes():
    pixels = ImageProcessor((8, 6), BILINEAR, None).pixels(picture(), ENOUGH)
    assert (pixels.shape, pixels.dtype) == ((8, 6, 3), np.uint8)


@pytest.mark.parametrize(("height", "width", "expected"), [(40, 50, (8, 10)), (50, 40, (10, 8)), (40, 59, (8, 11))])
def test_the_shorter_edge_keeps_the_proportions(height, width, expected):
    pixels = ImageProcessor(8, BILINEAR, None).pixels(picture(height, width), ENOUGH)
    assert pixels.shape == (*expected, 3)


def test_the_middle_is_cut_out():
    image = Image.fromarray(np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)).convert("RGB")
    cut = ImageProcessor(None, NEAREST, (3, 4)).pixels(image, ENOUGH)[..., 0]
    assert cut.tolist() == [[8, 9, 10, 11], [15, 16, 17, 18], [22, 23, 24, 25]]


def test_a_smaller_image_gets_a_black_border():
    image = Image.new("RGB", (1, 2), "white")
    cut = ImageProcessor(None, NEAREST, (4, 4)).pixels(image, ENOUGH)[..., 0] // 255
    assert cut.tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_a_batch_is_rescaled_and_normalized_channel_by_channel():
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0], image[..., 2] = 255, 51
    processor = ImageProcessor(None, NEAREST, None, 1 / 255, mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 2.0))
    batch = processor.batch([image, 255 - image])
    assert (batch.shape, batch.dtype) == ((2, 3, 2, 3), np.float32)
    assert batch[0, :, 0, 0].tolist() == [1, -1, 0]
    np.testing.assert_allclose(batch[1, :, 1, 2], [-1, 3, 0.3], rtol=1e-6)


def test_blue_can_come_first():
    image = np.full((1, 1, 3), (1, 2, 3), np.uint8)
    assert ImageProcessor(None, NEAREST, None, flip_channels=True).batch([image]).ravel().tolist() == [3, 2, 1]


def test_an_image_that_would_grow_beyond_the_limit_is_refused():
    """One pixel wide, its shorter edge is easily resized to gigabytes."""
    narrow = Image.new("RGB", (1, 5000))
    with pytest.raises(InvalidInput, match=r"too narrow: 1 x 5000 pixels become 224 x 1120000; allowed are 1,000,000"):
        ImageProcessor(224, BILINEAR, (224, 224)).pixels(narrow, ENOUGH)


def test_the_size_is_known_where_it_does_not_depend_on_the_image():
    assert ImageProcessor((8, 6), BILINEAR, None).size == (8, 6)
    assert ImageProcessor(8, BILINEAR, (4, 5)).size == (4, 5)
    assert ImageProcessor(8, BILINEAR, None).size is None


@pytest.mark.parametrize("resize", [(8, 6), 8, None])
def test_it_reads_back_from_json(resize):
    processor = ImageProcessor(resize, BILINEAR, (4, 4), 1 / 255, True, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), True, True)
    assert ImageProcessor.of_json(json.loads(json.dumps(processor.to_json()))) == processor
