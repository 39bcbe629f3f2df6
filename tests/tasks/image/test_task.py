"""What the image tasks share, by the simplest of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.tasks.image.decoding import decoded
from quantbento.tasks.image.processor import ImageProcessor
from quantbento.tasks.image.task import ImageTask, check_takes_images
from quantbento.tasks.source import SourceModel
from tests.tiny_images import file_of, picture

PROCESSOR = ImageProcessor((8, 6), 2, None, 1 / 255)


class Pixels(ImageTask):
    """Not abstract; what is not tested here is missing."""

    name = "pixels"
    create = save = load = postprocess = answers = compare = answer_schema = None


@pytest.fixture
def task():
    return Pixels(PROCESSOR, max_pixels=10_000)


def test_a_checked_item_is_small_and_a_batch_is_what_the_model_takes(task):
    checked = task.check_all([file_of(picture(90, 100)), picture()], None)
    assert [(item.shape, item.dtype) for item in checked] == [((8, 6, 3), np.uint8)] * 2
    batch = task.collate([task.encode(item) for item in checked])["pixel_values"]
    assert (batch.shape, batch.dtype) == ((2, 3, 8, 6), np.float32)
    own = np.asarray(decoded(picture(), 10_000).resize((6, 8), 2)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(batch[1], own, atol=1e-7)


def test_the_limit_is_the_tasks(task):
    with pytest.raises(InvalidInput, match=r"item 1: the image is too large: 101 x 100 pixels; allowed are 10,000"):
        task.check_all([picture(), picture(100, 101)], None)


def test_preprocessing_sees_the_image_as_it_was_given(task):
    seen = []
    task.check_all([file_of(picture())], lambda item: seen.append(item) or picture())
    assert seen == [file_of(picture())]


def test_examples_are_checked_items(task):
    assert [(item.shape, item.dtype) for item in task.examples()] == [((8, 6, 3), np.uint8)] * 2
    assert task.collate(task.examples())["pixel_values"].std() > 0


def test_samples_for_calibration_are_batches(task):
    batches = task.calibrate(task.check_all([picture(seed=i) for i in range(11)], None), None)
    assert [batch["pixel_values"].shape[0] for batch in batches] == [8, 3]


def test_a_model_that_takes_other_images_is_an_error(tmp_path):
    source = SourceModel(torch.nn.Linear(5, 2), tmp_path)
    with pytest.raises(QuantbentoError, match=r"does not take what its .*, RGB images of 8 x 6 pixels"):
        check_takes_images(source, PROCESSOR)
