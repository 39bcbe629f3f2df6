"""A signed model, and a Bento of it that was built with its key trusted."""

from __future__ import annotations

import contextlib
from pathlib import Path

from quantbento import store
from quantbento.packing.build import build
from quantbento.packing.contents import Contents
from quantbento.store import signing
from tests.conftest import model_store
from tests.store.test_models import write_artifact


def built_signed(folder: Path) -> Contents:
    """The Bento `demo` of a model that doubles numbers, signed with `release`. The folder gets the keys `release` and
    `foreign`, and BentoML's home, `bentoml`."""
    (folder / "empty").mkdir()
    private, trusted = signing.keygen(folder / "release")
    signing.keygen(folder / "foreign")
    with model_store(folder / "bentoml"), contextlib.chdir(folder / "empty"):
        model = store.save("demo", write_artifact(folder / "artifact", 2), {}, {}, {})
        signing.sign(model.path, model.tag, private)
        return build("demo", trusted_keys=[trusted])
