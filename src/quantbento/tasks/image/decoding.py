"""An image however it is given, as Pillow's RGB image: what Transformers' `load_image` makes of it, within limits.

The size that a file's header claims is looked at before anything is decoded: a PNG of 50,000 x 50,000 pixels can be
smaller than a megabyte.
"""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbento.core.errors import InvalidInput, one_of, summary

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # Pillow's names
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
TAKEN = f"an image is a file ({', '.join(FORMATS)}) as pathlib.Path, bytes or base64, a PIL image, or a uint8 array"
LONGEST_SIDE = 65_535  # pixels, as in JPEG; Pillow takes memory for each line, however short
CHANNELS = ((1,), (3,), (4,))


def decoded(item: Any, max_pixels: int) -> Image.Image:
    """The image upright and in RGB.

    The rotation that a camera noted in EXIF is applied; transparency is dropped; of an animation the first frame is
    taken.

    Args:
        item: a `pathlib.Path`, the bytes of a file, these in base64 (with or without `data:image/png;base64,`), a PIL
            image, or a uint8 array of shape (height, width), or (height, width, 1, 3 or 4).
        max_pixels: of the image as it is given.

    Raises:
        InvalidInput: it is none of these, has more pixels, or is damaged.
    """
    from PIL import Image, ImageOps

    bomb = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    given = isinstance(item, Image.Image)  # not ours to turn in place
    try:
        image = item if given else _opened(item)
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width} x {height} pixels", max_pixels)
        if max(width, height) > LONGEST_SIDE:
            raise InvalidInput(
                f"the image is too large: {width} x {height} pixels; allowed are {LONGEST_SIDE:,} along a side"
            )
        if not width * height:
            raise InvalidInput(f"the image is empty: it has {width} x {height} pixels")
        if given:
            image = ImageOps.exif_transpose(image)
        else:
            ImageOps.exif_transpose(image, in_place=True)
        return image if image.mode == "RGB" and not given else image.convert("RGB")
    except InvalidInput as error:
        refused = error
    except bomb:  # Pillow's own limit
        refused = _too_large(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels", max_pixels)
    except Exception as error:  # decoders raise what they like
        refused = InvalidInput(f"the image is damaged: {summary(error)}")
    raise InvalidInput(f"{item}: {refused.message}") if isinstance(item, Path) else refused


def _opened(item: Any) -> Image.Image:
    """The image with its size known and, of a file, nothing decoded."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or not (item.ndim == 2 or item.shape[2:] in CHANNELS):
            raise InvalidInput(
                "an array must be uint8 and of shape (height, width) or (height, width, 1, 3 or 4), "
                f"not {item.dtype} {item.shape}"
            )
        if not item.size:
            raise InvalidInput(f"the image is empty: its array has shape {item.shape}")
        return Image.fromarray(item[..., 0] if item.shape[2:] == (1,) else item)
    data = _bytes(item)
    if not data:
        raise InvalidInput("the image is empty: it has no bytes")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise InvalidInput(
            f"the image is damaged, or of a format that is not read; allowed are {one_of(FORMATS)}"
        ) from None


def _bytes(item: Any) -> bytes:
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    if isinstance(item, Path):
        try:
            return item.read_bytes()
        except OSError as error:
            raise InvalidInput(f"the file cannot be read: {error.strerror or error}") from None
    if isinstance(item, str):
        return _of_base64(item)
    raise InvalidInput(f"{TAKEN}; not {type(item).__name__}")


def _of_base64(text: str) -> bytes:
    if text[:8].lower().startswith(("http://", "https://")):
        raise InvalidInput("addresses are not fetched; send the image itself, in base64")
    if text.startswith("data:"):
        kind, comma, text = text.partition(",")
        if not (comma and kind.startswith("data:image/") and kind.endswith(";base64")):
            raise InvalidInput("a data URL must be data:image/...;base64,...")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"a string must be an image in base64: {summary(error)}. In Python, name a file with pathlib.Path"
        ) from None


def _too_large(size: str, max_pixels: int) -> InvalidInput:
    return InvalidInput(f"the image is too large: {size}; allowed are {max_pixels:,} in all (task_options.max_pixels)")
