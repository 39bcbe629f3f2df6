"""Samples that stand in for the user's own until they are there, so that a recipe runs at once: prose (of Python's own
language reference), noise as images and arrays, tones as sounds. Nobody should take a figure measured on them for one
of the user's data, so a recipe marks them and their files are called so."""

from __future__ import annotations

import json
import math
import re
import struct
import wave
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Task

ROWS = 64
FILES = 16  # images or sounds
PIXELS = 64
SOUND_SECONDS, SOUND_RATE = 1, 16_000


def rows(task: type[Task], half: int, enough: Callable[[list[str]], bool] | None = None) -> list[dict[str, Any]]:
    """A table for a task whose items are texts: a value for each field.

    Args:
        half: 0 or 1; tables of different halves share no text.
        enough: for texts that are joined: whether these are enough. Each text is then long.

    Raises:
        QuantbentoError: there is no text that is enough.
    """
    if enough is not None:
        return [{task.fields[0]: text} for text in _joined(_texts()[half::2], enough)]
    sentences = list(dict.fromkeys(sentence for text in _texts() for sentence in _sentences(text)))[half::2]
    width = len(task.fields)
    chosen = [sentences[i : i + width] for i in range(0, min(ROWS * width, len(sentences) - width + 1), width)]
    return [{f: _value(f, text) for f, text in zip(task.fields, texts, strict=True)} for texts in chosen]


def write_rows(table: Sequence[dict[str, Any]], path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table), encoding="utf-8")


def write_arrays(items: Sequence[dict[str, np.ndarray]], path: Path) -> None:
    """Arrays by input name, batch first."""
    arrays: dict[str, Any] = {name: np.stack([item[name] for item in items]) for name in items[0]}
    np.savez_compressed(path, **arrays)


def write_files(task: type[Task], folder: Path, half: int) -> None:
    """Images or sounds, by the endings that a task takes.

    Raises:
        QuantbentoError: it takes neither PNG nor WAV.
    """
    folder.mkdir()
    if ".png" in task.suffixes:
        _write_images(folder, half)
    elif ".wav" in task.suffixes:
        _write_sounds(folder, half)
    else:
        raise QuantbentoError(f"samples for {task.name} cannot be made up; name your own with --evaluation")


def _texts() -> list[str]:
    """Pages of Python's language reference, the long ones first."""
    from pydoc_data.topics import topics

    return sorted(topics.values(), key=len, reverse=True)


def _joined(texts: Sequence[str], enough: Callable[[list[str]], bool]) -> list[str]:
    for count in range(1, len(texts) + 1):
        if enough(list(texts[:count])):
            return list(texts[:count])
    raise QuantbentoError("there is not enough made-up text for this model; name your own with --evaluation")


def _sentences(text: str) -> list[str]:
    """Whole sentences of 8 to 40 words, without markup."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n") if not part.startswith(" "))
    found = (sentence for part in paragraphs for sentence in re.split(r"(?<=[.!?]) +", part))
    return [s for s in found if 8 <= len(s.split()) <= 40 and re.match(r"[A-Z][^*`|=_>]+[.!?]$", s)]


def _value(field: str, text: str) -> Any:
    """Texts, or the words of one where a task reads them one by one."""
    return text.split() if field == "tokens" else text


def _write_images(folder: Path, half: int) -> None:
    from PIL import Image

    chance = np.random.default_rng(half)
    for number in range(FILES):
        coarse = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((PIXELS, PIXELS)).save(folder / f"{number:02}.png")


def _write_sounds(folder: Path, half: int) -> None:
    count = SOUND_SECONDS * SOUND_RATE
    for number in range(FILES):
        tone = 2 * math.pi * (220 + 20 * (2 * number + half)) / SOUND_RATE
        samples = (int(12_000 * math.sin(tone * i)) for i in range(count))
        with wave.open(str(folder / f"{number:02}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SOUND_RATE)
            file.writeframes(b"".join(struct.pack("<h", value) for value in islice(samples, count)))
