"""What a model's image processor does, in NumPy and Pillow: resize, crop, rescale, normalize. Transformers' own needs
torch beside it, which a served image may not have; `reading.py` proves that both give the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbento.core.errors import InvalidInput

if TYPE_CHECKING:
    from PIL import Image

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class ImageProcessor:
    """
    Attributes:
        resize: to this height and width, or so that the shorter edge has this length.
        resample: Pillow's number of the filter.
        crop: cut from the middle; where an image is smaller, it gets a black border.
        rescale_factor: values from 0 to 255 are multiplied by it.
        rescale_offset: 1 is subtracted then.
        mean, std: of each channel; subtracted, and divided by.
        divide_again: by `std` once more, as EfficientNet's classifiers were trained.
        flip_channels: blue comes first.
    """

    resize: Size | int | None
    resample: int
    crop: Size | None
    rescale_factor: float | None = None
    rescale_offset: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    divide_again: bool = False
    flip_channels: bool = False

    @property
    def size(self) -> Size | None:
        """Height and width of what the model gets; None where they depend on the image."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else None)

    def pixels(self, image: Image.Image, max_pixels: int) -> np.ndarray:
        """Of an RGB image those that the model sees, uint8 of shape (height, width, 3): what is small enough to keep
        while an item waits for its batch.

        Raises:
            InvalidInput: the image is so narrow that resized it would have more than `max_pixels`.
        """
        if (wanted := self._resized(image)) is not None:
            height, width = wanted
            if height * width > max_pixels:
                raise InvalidInput(
                    f"the image is too narrow: {image.width} x {image.height} pixels become {width} x {height}; "
                    f"allowed are {max_pixels:,} in all (task_options.max_pixels)"
                )
            image = image.resize((width, height), self.resample)
        pixels = np.asarray(image)
        return pixels if self.crop is None else _center(pixels, self.crop)

    def batch(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """The model's input, float32 of shape (images, 3, height, width)."""
        stacked = np.stack(pixels)
        values = np.empty((len(stacked), 3, *stacked.shape[1:3]), np.float32)
        for channel, levels in enumerate(self._levels):
            place = 2 - channel if self.flip_channels else channel
            np.take(levels, stacked[..., channel], out=values[:, place])
        return values

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, config: dict[str, Any]) -> ImageProcessor:
        given: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
        return cls(**given)

    @cached_property
    def _levels(self) -> np.ndarray:
        """What becomes of each of the 256 values of a channel; (3, 256) in float32, computed as Transformers does."""
        values = np.arange(256, dtype=np.float32)
        if self.rescale_factor is not None:
            values = (np.arange(256, dtype=np.float64) * self.rescale_factor).astype(np.float32)
            values = values - np.float32(1) if self.rescale_offset else values
        levels = np.tile(values, (3, 1))
        if self.mean is not None and self.std is not None:
            levels = (levels - np.asarray(self.mean, np.float32)[:, None]) / np.asarray(self.std, np.float32)[:, None]
        if self.divide_again and self.std is not None:
            levels = levels / np.asarray(self.std, np.float32)[:, None]
        return levels

    def _resized(self, image: Image.Image) -> Size | None:
        if self.resize is None or isinstance(self.resize, tuple):
            return self.resize
        shorter, longer = sorted(image.size)
        length = int(self.resize * longer / shorter)
        return (length, self.resize) if image.width <= image.height else (self.resize, length)


def _center(pixels: np.ndarray, size: Size) -> np.ndarray:
    """The middle of an image, as Transformers finds it: of a border that is odd, the larger half is before the image,
    and of what is cut off it is behind."""
    height, width = pixels.shape[:2]
    before = [max(0, -(-(wanted - have) // 2)) for wanted, have in zip(size, (height, width), strict=True)]
    if any(before):
        canvas = np.zeros((max(height, size[0]), max(width, size[1]), 3), np.uint8)
        canvas[before[0] : before[0] + height, before[1] : before[1] + width] = pixels
        pixels = canvas
    top, left = ((have - wanted) // 2 + b for have, wanted, b in zip((height, width), size, before, strict=True))
    return pixels[max(top, 0) : top + size[0], max(left, 0) : left + size[1]]
