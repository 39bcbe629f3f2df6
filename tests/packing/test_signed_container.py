"""The image of a signed model answers with the key that it was signed with, and does not start with another's."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx
import pytest

from examples import container as example
from quantbento.packing.image import BENTO, Image, containerize
from tests.conftest import model_store
from tests.signed_models import built_signed

pytestmark = [pytest.mark.slow, pytest.mark.container, pytest.mark.server]
NAME = "localhost/quantbento-signed"
SIGNATURE = f"{BENTO}/models/*/*/model.sig"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds the keys `release` and `foreign`, and BentoML's home."""
    return tmp_path_factory.mktemp("signed")


@pytest.fixture(scope="module")
def image(builder, folder) -> Image:
    """The image of a model that doubles numbers, signed with `release`."""
    contents = built_signed(folder)
    with model_store(folder / "bentoml"):
        return containerize(contents.tag, NAME, example.base_image(builder, contents), builder.name)


@contextlib.contextmanager
def running(builder, image: Image, folder: Path, key: str, change: str = "true"):
    """A container that trusts one key, after a change of its files as root."""
    context = folder / key  # names its image, so that the next run replaces it
    context.mkdir(exist_ok=True)
    (context / "key.pem").write_bytes((folder / f"{key}.pub.pem").read_bytes())
    (context / "Containerfile").write_text(
        f"FROM {image.name}\nUSER 0\nCOPY --chmod=644 key.pem /keys/trusted.pem\nRUN {change}\n"
        "USER 1034:1034\nENV QUANTBENTO_TRUSTED_KEYS=/keys/trusted.pem\n"
    )
    name = f"{NAME}:{context.name}"
    builder.build(context, name, {})
    with example.running(builder, name, context / "container.log") as server:
        yield server


def test_it_answers_where_its_key_is_trusted(builder, image, folder):
    with running(builder, image, folder, "release") as server:
        answer = httpx.post(f"{server.url}/predict", json={"inputs": [[1, 2, 3]]}, timeout=30)
        assert answer.json() == [[2, 4, 6]]


def test_it_does_not_start_where_another_key_is_trusted(builder, image, folder):
    with (
        pytest.raises(RuntimeError, match=r"is not signed by a trusted key.*trusted\.pem"),
        running(builder, image, folder, "foreign"),
    ):
        pytest.fail("it serves a model of another signer")


def test_it_does_not_start_without_the_signature(builder, image, folder):
    assert builder.output(image.name, f"ls {SIGNATURE}").strip()
    with (
        pytest.raises(RuntimeError, match="is not signed"),
        running(builder, image, folder, "release", f"rm {SIGNATURE}"),
    ):
        pytest.fail("it serves an unsigned model")
