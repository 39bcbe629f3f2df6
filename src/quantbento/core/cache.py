"""Where what takes long to make is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """`QUANTBENTO_CACHE/name`, or `.cache/name` in the current folder. It may not exist yet."""
    return Path(os.environ.get("QUANTBENTO_CACHE") or ".cache").absolute() / name
