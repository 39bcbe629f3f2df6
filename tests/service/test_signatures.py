"""A Bento of a signed model, served from BentoML's store with the keys to trust."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from examples.server import bento, serve
from tests.signed_models import built_signed

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, str]:
    """The folder with the keys `release` and `foreign` and BentoML's home, and the Bento's tag."""
    folder = tmp_path_factory.mktemp("signed")
    return folder, built_signed(folder).tag


def serving(built: tuple[Path, str], key: str, log: Path):
    folder, tag = built
    keys = {"BENTOML_HOME": str(folder / "bentoml"), "QUANTBENTO_TRUSTED_KEYS": str(folder / f"{key}.pub.pem")}
    return serve(bento(tag), keys, log / "server.log")


def test_a_model_that_was_signed_with_a_trusted_key_answers(built, tmp_path):
    with serving(built, "release", tmp_path) as server:
        answer = httpx.post(f"{server.url}/predict", json={"inputs": [[1, 2, 3]]}, timeout=30)
        assert answer.json() == [[2, 4, 6]]


def test_one_that_was_signed_with_another_key_is_never_served(built, tmp_path):
    with (
        pytest.raises(RuntimeError, match=r"is not signed by a trusted key.*foreign\.pub\.pem"),
        serving(built, "foreign", tmp_path),
    ):
        pass
