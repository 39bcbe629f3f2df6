"""From a model's folder to its `ImageProcessor`. Which defaults a processor's class has, Transformers knows; that the
result is the same is proven on made-up images, once, where a model is first read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.tasks.image.processor import ImageProcessor
from quantbento.tasks.source import SourceModel

SAME = 1e-5  # the largest difference of a value; rounding gives less than 1e-6
# Switches that decide nothing here: images are RGB, and only label maps have labels to reduce.
KNOWN = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"}
IRRELEVANT = {"do_convert_rgb", "do_reduce_labels"}


def read_processor(source: SourceModel) -> ImageProcessor:
    """The processor that a model's folder says, by its `preprocessor_config.json`.

    Raises:
        QuantbentoError: there is none; its type or one of its settings is not known here; or this project would
            prepare images otherwise than Transformers does.
    """
    from transformers import AutoImageProcessor

    if source.folder is None:
        raise QuantbentoError(
            "an image task needs a model in hub format with its preprocessor_config.json; a factory returns the "
            "folder's path"
        )
    try:
        theirs = AutoImageProcessor.from_pretrained(
            source.folder, backend="pil", trust_remote_code=source.trust_remote_code
        )
    except (OSError, ValueError, ImportError) as error:
        raise QuantbentoError(
            f"no image processor could be read from {source.folder}: {summary(error)}. Save it there: "
            f"transformers.AutoImageProcessor.from_pretrained(MODEL).save_pretrained({str(source.folder)!r})"
        ) from error
    kind = type(theirs).__name__.removesuffix("Pil").removesuffix("Fast")
    if kind not in READERS:
        raise QuantbentoError(
            f"{source.folder} prepares images with {kind}, which is not known here; known are {one_of(READERS)}. "
            "Use task tensor with a preprocess function of your own"
        )
    processor = READERS[kind](_common(theirs, kind), theirs)
    if processor.size is None:
        raise QuantbentoError(
            f"{kind} of {source.folder} leaves images of different sizes; set do_resize with a size of height and "
            "width, or do_center_crop, in its preprocessor_config.json"
        )
    _prove(processor, theirs, kind)
    return processor


def _common(theirs: Any, kind: str) -> ImageProcessor:
    """What all of them share."""
    settings = theirs.to_dict()
    on = {name for name, value in settings.items() if name.startswith("do_") and value}
    if unknown := sorted(on - KNOWN - IRRELEVANT):
        raise QuantbentoError(f"{kind} has {', '.join(unknown)} set, which is not known here")
    resize = _size(settings["size"], kind) if "do_resize" in on else None
    normalize = "do_normalize" in on
    return ImageProcessor(
        resize=resize,
        resample=int(settings["resample"] if settings.get("resample") is not None else 2),
        crop=_pair(settings["crop_size"]) if "do_center_crop" in on else None,
        rescale_factor=float(settings["rescale_factor"]) if "do_rescale" in on else None,
        mean=_channels(settings["image_mean"]) if normalize else None,
        std=_channels(settings["image_std"]) if normalize else None,
    )


def _size(size: Any, kind: str) -> tuple[int, int] | int:
    given = {name: value for name, value in dict(size).items() if value is not None}
    if given.keys() == {"height", "width"}:
        return _pair(given)
    if given.keys() == {"shortest_edge"}:
        return int(given["shortest_edge"])
    raise QuantbentoError(f"{kind} has the size {given}; known are height and width together, and shortest_edge alone")


def _pair(size: Any) -> tuple[int, int]:
    return int(size["height"]), int(size["width"])


def _channels(values: Any) -> tuple[float, ...]:
    given = [float(value) for value in (values if isinstance(values, list | tuple) else [values] * 3)]
    if len(given) != 3:
        raise QuantbentoError(f"the image processor's mean and std are for {len(given)} channels; images have 3 (RGB)")
    return tuple(given)


def _plain(common: ImageProcessor, theirs: Any) -> ImageProcessor:
    return common


def _convnext(common: ImageProcessor, theirs: Any) -> ImageProcessor:
    """Up to 384 pixels, the shorter edge is made longer by what is then cut off."""
    edge = common.resize
    if edge is None:
        return common
    if not isinstance(edge, int) or common.crop is not None:
        raise QuantbentoError("ConvNextImageProcessor is known with a size of shortest_edge, and without a crop")
    if edge >= 384:
        return replace(common, resize=(edge, edge))
    return replace(common, resize=int(edge / theirs.crop_pct), crop=(edge, edge))


def _poolformer(common: ImageProcessor, theirs: Any) -> ImageProcessor:
    if common.resize is None or theirs.crop_pct is None:
        return common
    if isinstance(common.resize, int):
        return replace(common, resize=int(common.resize / theirs.crop_pct))
    height, width = (int(side / theirs.crop_pct) for side in common.resize)
    return replace(common, resize=height if height == width else (height, width))


def _levit(common: ImageProcessor, theirs: Any) -> ImageProcessor:
    return replace(common, resize=int(256 / 224 * common.resize)) if isinstance(common.resize, int) else common


def _efficientnet(common: ImageProcessor, theirs: Any) -> ImageProcessor:
    std = common.std or (_channels(theirs.image_std) if theirs.include_top else None)
    return replace(common, rescale_offset=bool(theirs.rescale_offset), divide_again=bool(theirs.include_top), std=std)


def _mobilevit(common: ImageProcessor, theirs: Any) -> ImageProcessor:
    """It never normalizes, whatever its settings say."""
    return replace(common, flip_channels=bool(theirs.do_flip_channel_order), mean=None, std=None)


READERS: dict[str, Callable[[ImageProcessor, Any], ImageProcessor]] = {
    "ViTImageProcessor": _plain,
    "DeiTImageProcessor": _plain,
    "BeitImageProcessor": _plain,
    "BitImageProcessor": _plain,
    "BlipImageProcessor": _plain,
    "CLIPImageProcessor": _plain,
    "SiglipImageProcessor": _plain,
    "MobileNetV1ImageProcessor": _plain,
    "MobileNetV2ImageProcessor": _plain,
    "PvtImageProcessor": _plain,
    "SegformerImageProcessor": _plain,
    "ConvNextImageProcessor": _convnext,
    "EfficientNetImageProcessor": _efficientnet,
    "LevitImageProcessor": _levit,
    "MobileViTImageProcessor": _mobilevit,
    "PoolFormerImageProcessor": _poolformer,
}


def _prove(processor: ImageProcessor, theirs: Any, kind: str) -> None:
    """Raises `QuantbentoError` where the two prepare an image differently: wider, higher and smaller ones than the
    model's are tried."""
    from PIL import Image

    assert processor.size is not None
    height, width = processor.size
    chance = np.random.default_rng(0)
    for shape in ((height + 3, 2 * width), (2 * height + 1, width + 2), (height // 2 + 1, width // 3 + 1)):
        image = Image.fromarray(chance.integers(0, 256, (*shape, 3), dtype=np.uint8))
        expected = np.asarray(theirs(images=[image], return_tensors="np")["pixel_values"][0], np.float32)
        found = processor.batch([processor.pixels(image, max_pixels=10**9)])[0]
        if found.shape != expected.shape or not np.abs(found - expected).max() <= SAME:
            raise QuantbentoError(
                f"{kind} of Transformers prepares images otherwise than this project does ({found.shape} and "
                f"{expected.shape}, of an image of {shape[1]} x {shape[0]} pixels). Please report its "
                "preprocessor_config.json; task tensor with a preprocess function of your own takes the model meanwhile"
            )
