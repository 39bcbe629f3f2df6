"""Large packages are imported faster without Python's garbage collector."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """For a block that imports. The collector would look through all modules again and again, and find nothing: with it
    vLLM takes a fifth longer, 2 of 9 seconds. Later collections pass over what is there at the end of the block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
