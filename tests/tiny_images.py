"""Pictures, files of them, and small models that take them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 32
LABELS = [f"kind {i}" for i in range(8)]
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": SIZE,
    "patch_size": 8,
}


def picture(height: int = 40, width: int = 50, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Noise of another color for each seed."""
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, 100, (height, width, 3)) + chance.integers(0, 156, 3)
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def file_of(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    """The bytes of a file of it."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def base64_of(image: Image.Image, kind: str = "PNG") -> str:
    return base64.b64encode(file_of(image, kind)).decode()


def huge_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A small file that claims to be that large."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def write_classifier(folder: Path, labels: list[str] = LABELS, **config: Any) -> Path:
    """A ViT with random weights in hub format, with its processor."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    names = dict(enumerate(labels))
    given = ViTConfig(**VIT, id2label=names, label2id={name: i for i, name in names.items()}, **config)
    model = ViTForImageClassification(given)
    torch.nn.init.normal_(model.classifier.weight)  # so that answers differ
    model.save_pretrained(folder)
    return write_processor(folder)


def write_processor(folder: Path, kind: str = "ViTImageProcessor", **settings: Any) -> Path:
    """A `preprocessor_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"size": {"height": SIZE, "width": SIZE}} | settings
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind} | settings))
    return folder
