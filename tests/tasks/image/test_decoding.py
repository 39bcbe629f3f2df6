"""Decoded images equal those of Transformers' `load_image`; what is too large or damaged is refused by what it is."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from quantbento.core.errors import InvalidInput
from quantbento.tasks.image.decoding import SUFFIXES, decoded
from tests.tiny_images import base64_of, file_of, huge_png, picture

ENOUGH = 1_000_000
DAMAGED = "the image is damaged"


def pixels(item, max_pixels=ENOUGH):
    return np.asarray(decoded(item, max_pixels))


def sixteen_bit() -> Image.Image:
    return Image.fromarray((np.arange(600, dtype=np.uint16) * 100).reshape(20, 30))


def palette_with_transparency() -> bytes:
    return file_of(picture(mode="P"), transparency=3)


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file_of(picture(), "JPEG", exif=exif)


def animation(kind: str) -> bytes:
    frames = [picture(seed=seed) for seed in range(3)]
    return file_of(frames[0], kind, save_all=True, append_images=frames[1:])


FILES = {
    "png": file_of(picture()),
    "jpeg": file_of(picture(), "JPEG"),
    "webp": file_of(picture(), "WEBP"),
    "gif": animation("GIF"),
    "animated webp": animation("WEBP"),
    "bmp": file_of(picture(), "BMP"),
    "gray": file_of(picture(mode="L")),
    "black and white": file_of(picture(mode="1")),
    "transparent": file_of(picture(mode="RGBA")),
    "gray and transparent": file_of(picture(mode="LA")),
    "palette": file_of(picture(mode="P")),
    "palette with transparency": palette_with_transparency(),
    "16 bit": file_of(sixteen_bit()),
    "cmyk": file_of(picture(mode="CMYK"), "JPEG"),
    "progressive": file_of(picture(), "JPEG", progressive=True),
    **{f"turned {orientation}": rotated(orientation) for orientation in range(2, 9)},
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_file_is_read_as_transformers_reads_it(data, tmp_path):
    from transformers.image_utils import load_image

    (tmp_path / "image").write_bytes(data)
    assert np.array_equal(pixels(data), np.asarray(load_image(str(tmp_path / "image"))))


def test_a_photo_is_turned_upright():
    assert pixels(rotated(6)).shape == (50, 40, 3)


def test_an_image_is_the_same_however_it_is_given(tmp_path):
    image = picture()
    expected, data = np.asarray(image), file_of(image)
    (tmp_path / "a.png").write_bytes(data)
    text = base64.b64encode(data).decode()
    given = [data, bytearray(data), memoryview(data), tmp_path / "a.png", image, expected, text]
    given += [f"data:image/png;base64,{text}", "\n".join([text[:76], text[76:]])]
    for item in given:
        assert np.array_equal(pixels(item), expected), type(item)


def test_a_pil_image_of_the_callers_is_not_changed():
    image = Image.open(io.BytesIO(rotated(6)))
    assert pixels(image).shape == (50, 40, 3)
    assert image.size == (50, 40)


def test_arrays_may_be_gray_or_transparent():
    color = np.asarray(picture(mode="RGBA"))
    assert np.array_equal(pixels(color), color[..., :3])
    gray = color[..., 0]
    for given in (gray, gray[..., None]):
        assert np.array_equal(pixels(given), np.repeat(gray[..., None], 3, axis=2))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


WRONG = {
    "nothing": (b"", "the image is empty: it has no bytes"),
    "a text": (b"hello", "damaged, or of a format that is not read; allowed are 'PNG', 'JPEG'"),
    "a truncated png": (half(FILES["png"]), DAMAGED),
    "a truncated jpeg": (half(FILES["jpeg"]), DAMAGED),
    "a truncated webp": (half(FILES["webp"]), DAMAGED),
    "a truncated gif": (half(file_of(picture(), "GIF")), DAMAGED),
    "a truncated bmp": (half(FILES["bmp"]), DAMAGED),
    "a header alone": (FILES["png"][:33], DAMAGED),
    "another format": (file_of(picture(), "TIFF"), "of a format that is not read"),
    "no pixels": (np.zeros((0, 5, 3), np.uint8), r"empty: its array has shape \(0, 5, 3\)"),
    "floats": (np.zeros((5, 5, 3)), r"must be uint8 .*, not float64 \(5, 5, 3\)"),
    "channels first": (np.zeros((3, 8, 8), np.uint8), r"not uint8 \(3, 8, 8\)"),
    "a volume": (np.zeros((8, 8, 3, 2), np.uint8), r"not uint8 \(8, 8, 3, 2\)"),
    "a number": (7, "an image is a file .* as pathlib.Path, bytes or base64, .*; not int"),
    "a mapping": ({"path": "/etc/hostname", "bytes": None}, "not dict"),
    "the name of a file": ("cat.png", "must be an image in base64: .* name a file with pathlib.Path"),
    "an address": ("HTTPS://example.org/cat.png", "addresses are not fetched"),
    "a data url of a text": ("data:text/plain;base64,aGFsbG8=", "a data URL must be data:image/"),
    "a data url without data": ("data:image/png;base64", "a data URL must be data:image/"),
    "base64 of a text": ("aGFsbG8=", "of a format that is not read"),
}


@pytest.mark.parametrize(("item", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_image_is_refused(item, message):
    with pytest.raises(InvalidInput, match=message):
        decoded(item, ENOUGH)


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"/no\.png: the file cannot be read: No such file"):
        decoded(tmp_path / "no.png", ENOUGH)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InvalidInput, match=r"/text\.png: the image is damaged, or of a format"):
        decoded(tmp_path / "text.png", ENOUGH)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (huge_png(), "more than [0-9,]+ pixels"),  # Pillow's own limit comes first
        (huge_png(12_000, 12_000), "12000 x 12000 pixels"),
        (picture(10, 11), "11 x 10 pixels"),
        (np.zeros((10, 11, 3), np.uint8), "11 x 10 pixels"),
        (base64_of(picture(10, 11), "WEBP"), "11 x 10 pixels"),
    ],
    ids=["bomb", "large", "PIL", "array", "webp"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(item, said):
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=rf"too large: {said}; allowed are 100 in all \(task_options\.max_pixels\)"):
        decoded(item, max_pixels=100)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_side_is_no_longer_than_in_jpeg():
    assert pixels(file_of(Image.new("L", (1, 65_535)))).shape == (65_535, 1, 3)
    for size in ((1, 65_536), (65_536, 1)):
        with pytest.raises(InvalidInput, match=r"too large: \d+ x \d+ pixels; allowed are 65,535 along a side"):
            pixels(file_of(Image.new("L", size)))


def test_pillows_own_limit_is_left_as_it_is(monkeypatch):
    """It is a global setting of the user's process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InvalidInput, match="too large: more than 10 pixels"):
        decoded(file_of(picture()), ENOUGH)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(InvalidInput, match="too large: 50000 x 50000"):
        decoded(huge_png(), ENOUGH)


def test_a_frame_larger_than_its_gif_is_refused():
    """The size of the canvas is in bytes 6 to 9."""
    data = bytearray(file_of(picture(100, 100), "GIF"))
    data[6:10] = struct.pack("<HH", 5, 5)
    with pytest.raises(InvalidInput, match="too large"):
        decoded(bytes(data), max_pixels=50)


def test_every_suffix_is_of_a_format_that_is_read():
    known = Image.registered_extensions()
    for suffix in SUFFIXES:
        assert np.asarray(decoded(file_of(picture(), known[suffix]), ENOUGH)).shape == (40, 50, 3)
