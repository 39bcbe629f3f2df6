"""Handwritten digits as image files, and a small vision transformer that reads them, trained in seconds.

.cache/digit-images/<hash of this file>/
    model/       hub format: weights, config.json, preprocessor_config.json
    held-out/    400 PNGs it has never seen, in a subfolder for each digit
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import nn
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from examples.digits import HELD_OUT, digits

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "digit-images"
SIZE, PATCH, WIDTH, LAYERS, HEADS = 16, 4, 64, 2, 4
EPOCHS, BATCH, LEARNING_RATE = 40, 64, 3e-3
SHIFT = 1.0  # pixel of 16; training images are moved by up to so much


def model() -> Path:
    """The folder of the trained model; trained on the first call."""
    return _made() / "model"


def held_out() -> tuple[list[Path], list[str]]:
    """The image files it has never seen, and their digits. A recipe's `path:` can name their folder as well."""
    files = sorted((_made() / "held-out").rglob("*.png"))
    return files, [file.parent.name for file in files]


def _made() -> Path:
    folder = CACHE / hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # a second process waits rather than trains too
        if not folder.exists():
            staging = folder.with_suffix(".staging")
            shutil.rmtree(staging, ignore_errors=True)  # what an interrupted training left
            _write(staging)
            staging.rename(folder)
    return folder


def _write(folder: Path) -> None:
    pictures, labels = [], []
    for number, (values, digit) in enumerate(zip(*digits(), strict=True)):
        picture = Image.fromarray(np.round(values * (255 / 16)).astype(np.uint8))
        if number < HELD_OUT:
            place = folder / "held-out" / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / f"{number:03}.png")
        else:
            pictures.append(picture)
            labels.append(int(digit))
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    inputs = processor(images=[p.convert("RGB") for p in pictures], return_tensors="pt")["pixel_values"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _network()
        _fit(network, inputs, torch.tensor(labels))
    network.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")


def _network() -> ViTForImageClassification:
    names = {i: str(i) for i in range(10)}
    return ViTForImageClassification(
        ViTConfig(
            image_size=SIZE,
            patch_size=PATCH,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=2 * WIDTH,
            id2label=names,
            label2id={name: i for i, name in names.items()},
        )
    )


def _fit(network: ViTForImageClassification, images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.05)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    network.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = network(pixel_values=_moved(images[chosen]), labels=labels[chosen]).loss
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    network.eval()


def _moved(images: torch.Tensor) -> torch.Tensor:
    """Each image a little aside, so that 1,397 of them are enough. What comes in from outside is black."""
    shift = (torch.rand(len(images), 2, 1) * 2 - 1) * SHIFT * 2 / SIZE
    grid = nn.functional.affine_grid(
        torch.cat([torch.eye(2).expand(len(images), 2, 2), shift], 2), list(images.shape), False
    )
    return nn.functional.grid_sample(images + 1, grid, align_corners=False) - 1
