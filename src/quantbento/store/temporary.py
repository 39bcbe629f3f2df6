"""A model store of its own for a while, so that a rehearsal leaves the user's as it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def temporary_store(folder: Path) -> Iterator[None]:
    """While it lasts, this process and those it starts store models in `folder` and find them there."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    former, home = BentoMLContainer.model_store.get(), os.environ.get("BENTOML_HOME")
    (folder / "models").mkdir(parents=True, exist_ok=True)
    BentoMLContainer.model_store.set(ModelStore(folder / "models"))
    os.environ["BENTOML_HOME"] = str(folder)
    try:
        yield
    finally:
        BentoMLContainer.model_store.set(former)
        if home is None:
            del os.environ["BENTOML_HOME"]
        else:
            os.environ["BENTOML_HOME"] = home
