"""Bentos that are built once, and stand-ins for the programs that build images."""

from __future__ import annotations

import pytest

from examples.container import without_user_namespaces
from quantbento.core.errors import QuantbentoError
from quantbento.packing import builders, context
from quantbento.packing.builders import Builder
from quantbento.packing.contents import Contents
from tests.built_bento import built_encoder, built_for_a_gpu
from tests.fake_builder import FakeBuilder


@pytest.fixture(scope="session")
def builder() -> Builder:
    """A builder of images that is installed here."""
    without_user_namespaces()
    try:
        return builders.find("buildah" if builders.BUILDERS["buildah"].answers() else None)
    except QuantbentoError as error:
        pytest.skip(str(error))


@pytest.fixture
def encoder(served_home) -> Contents:
    return built_encoder(served_home)


@pytest.fixture
def for_a_gpu(tmp_path_factory) -> Contents:
    return built_for_a_gpu(tmp_path_factory.getbasetemp())


@pytest.fixture
def no_settings(monkeypatch):
    """Neither pip nor uv is told anything by the environment."""
    for name in context.BUILD_ARGUMENTS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """`programs("docker")` installs a stand-in; nothing else is in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("BENTOML_CONTAINERIZE_BACKEND", raising=False)
    return lambda name, script="": FakeBuilder(folder / name, script)
