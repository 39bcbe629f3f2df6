"""What the image tasks share. An item is an image, however it is given; in canonical form, it is the pixels that the
model sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from quantbento.core.errors import QuantbentoError, summary
from quantbento.tasks import difficult
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays, TaskOptions
from quantbento.tasks.image.decoding import SUFFIXES, decoded
from quantbento.tasks.image.processor import ImageProcessor
from quantbento.tasks.source import SourceModel

PIXEL_VALUES = "pixel_values"
MAX_PIXELS = 4096 * 4096  # a phone's photo has 12 million
DECODING_BYTES = 15  # for each pixel of WebP; other formats take 4 to 8


class ImageOptions(TaskOptions):
    max_pixels: int = Field(MAX_PIXELS, gt=0, description="of an image as it is sent; larger ones are refused")


class ImageTask(ArrayTask):
    """A task whose items are images. The processor's resizing and cropping are done when an item is checked, so that a
    large photo is in memory for a moment only; its arithmetic is done for each batch.
    """

    Options = ImageOptions
    fields = ("image",)
    suffixes = SUFFIXES
    chunk_items = 8  # one image keeps all cores busy; more at once only take memory
    distributions = ("pillow", "transformers")
    modules = ("PIL",)
    extra = "vision"
    request_bytes = MAX_PIXELS * DECODING_BYTES
    input_names = [PIXEL_VALUES]

    def __init__(self, processor: ImageProcessor, max_pixels: int) -> None:
        self.processor, self.max_pixels = processor, max_pixels

    def check(self, item: Any) -> Any:
        """Pixels of an image, uint8 of shape (height, width, 3)."""
        return self.processor.pixels(decoded(item, self.max_pixels), self.max_pixels)

    def encode(self, item: Any) -> np.ndarray:
        return item

    def collate(self, encoded: Sequence[np.ndarray]) -> Arrays:
        """float32 of shape (images, 3, height, width)."""
        return {PIXEL_VALUES: self.processor.batch(encoded)}

    def examples(self) -> list[Any]:
        """A gradient and noise."""
        assert self.processor.size is not None
        height, width = self.processor.size
        slope = np.add.outer(np.arange(height), np.arange(width)) * 255 // max(height + width - 2, 1)
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return [np.repeat(slope.astype(np.uint8)[..., None], 3, axis=2), noise]

    def difficult(self, checked: Sequence[Any]) -> dict[str, list[Any]]:
        return difficult.images(checked)

    def item_schema(self) -> dict[str, Any]:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        return {
            "type": "string",
            "format": "byte",
            "description": f"an image file ({kinds}) of at most {self.max_pixels} pixels, in base64",
        }

    def image_config(self) -> dict[str, Any]:
        """What `load` needs of this class."""
        return {"processor": self.processor.to_json(), "max_pixels": self.max_pixels}


def image_arguments(config: dict[str, Any]) -> tuple[ImageProcessor, int]:
    """What `image_config` gave, for the constructor."""
    return ImageProcessor.of_json(config["processor"]), config["max_pixels"]


def check_takes_images(source: SourceModel, processor: ImageProcessor) -> dict[str, np.ndarray]:
    """Runs a PyTorch model on the images of an `ImageTask` with this processor, and returns its outputs by name.

    Raises:
        QuantbentoError: it does not take them.
    """
    import torch

    from quantbento.tasks.outputs import named_outputs

    assert source.module is not None and processor.size is not None
    pixels = [np.zeros((*processor.size, 3), np.uint8)]
    try:
        with torch.inference_mode():
            found = named_outputs(source.module(**{PIXEL_VALUES: torch.from_numpy(processor.batch(pixels))}))
    except Exception as error:
        height, width = processor.size
        raise QuantbentoError(
            f"the model of {source.folder} does not take what its preprocessor_config.json makes, RGB images of "
            f"{height} x {width} pixels: {summary(error)}"
        ) from error
    return {name: tensor.numpy() for name, tensor in found.items()}
