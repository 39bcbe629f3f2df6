"""Pictures of printed lines of text, made up as a recogniser of PP-OCR takes them: words in many sizes and shades of
grey, small ones enlarged, with noise.

1. one to three words of docstrings, in Pillow's own font
2. scaled to the height that the recogniser reads, as lines cut from a photograph are
3. noise; numbers from -1 to 1 in three equal channels, filled up to one width with zeros

Which words there are depends on the version of Python; nothing else does.
"""

from __future__ import annotations

import random
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from examples import docstrings

HEIGHT, WIDTH = 48, 320
SHORTEST, LONGEST = 2, 12  # letters of a word
SIZES = (9, 32)  # of the font, in pixels: what is small gets blurred when it is scaled
MARGIN = (0.05, 0.25)  # around the line, over the size of the font
DARK, LIGHT = (0, 110), (150, 255)
NOISE = 30.0  # the largest standard deviation, in shades of grey: easy to read

Lines = tuple[np.ndarray, list[str]]  # (lines, 3, HEIGHT, WIDTH), float32, and what is written there


def calibration(count: int, noise: float = NOISE) -> Lines:
    """The same ones every time."""
    return _lines(_words(docstrings.training()[0]), count, noise, seed=0)


def held_out(count: int, noise: float = NOISE) -> Lines:
    """Others, of words of other docstrings."""
    return _lines(_words(docstrings.held_out()[0]), count, noise, seed=2)


def drawn(text: str, noise: float, choice: random.Random) -> np.ndarray | None:
    """A picture of a text, (3, HEIGHT, WIDTH); None where the line is too long."""
    size = choice.randint(*SIZES)
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = font.getbbox(text)
    beside, above = (round(size * choice.uniform(*MARGIN)) for _ in range(2))
    ink, paper = choice.randint(*DARK), choice.randint(*LIGHT)
    if choice.random() < 0.25:
        ink, paper = paper, ink
    line = Image.new("L", (int(right - left) + 2 * beside, int(bottom - top) + 2 * above), paper)
    ImageDraw.Draw(line).text((beside - left, above - top), text, font=font, fill=ink)
    width = round(line.width * HEIGHT / line.height)
    if width > WIDTH:
        return None
    grey = np.asarray(line.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)
    grains = np.random.default_rng(choice.getrandbits(32)).normal(0, choice.uniform(0, noise), grey.shape)
    picture = np.zeros((3, HEIGHT, WIDTH), np.float32)
    picture[:, :, :width] = np.clip(grey + grains, 0, 255).round() / 127.5 - 1
    return picture


def _lines(words: list[str], count: int, noise: float, seed: int) -> Lines:
    choice, pictures, texts = random.Random(seed), list[np.ndarray](), list[str]()
    while len(pictures) < count:
        text = " ".join(choice.choice(words) for _ in range(choice.randint(1, 3)))
        if (picture := drawn(text, noise, choice)) is not None:
            pictures.append(picture)
            texts.append(text)
    return np.stack(pictures), texts


def _words(texts: list[str]) -> list[str]:
    return sorted(set(re.findall(rf"\b[A-Za-z]{{{SHORTEST},{LONGEST}}}\b", " ".join(texts))))
