"""A model and a Bento of it, made once; a registry; and machines that know of neither."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import model_store
from tests.packing.registry.machine import Machine, build_bento
from tests.packing.registry.server import running

LABELS = {"recipe": "demo", "task": "tensor", "quantizer": "onnx-dynamic", "scheme": "int8-dynamic", "passed": "true"}
METADATA = {"description": "Three numbers", "size_bytes": 300_000, "speedup": 1.5, "sqnr_db": 41.2}
BUILD = {
    "service": "service:TensorModel",
    "name": "three-numbers",
    "include": ["service.py", "src/quantbento/**/*.py", "src/quantbento/serving/playground/static/**"],
    "python": {"is_src_layout": True, "lock_packages": False},
}


@dataclass(frozen=True)
class Packed:
    home: Path
    model: str
    older_model: str
    bento: str


@pytest.fixture(scope="session")
def packed(tmp_path_factory) -> Packed:
    """A store with two versions of a model that answers three numbers, and a Bento of the newer one."""
    from quantbento import store
    from tests.store.test_models import write_artifact

    folder = tmp_path_factory.mktemp("packed")
    with model_store(folder / "bentoml") as home:
        tags = []
        for scale in (2, 1):
            artifact = write_artifact(folder / f"artifact-{scale}", scale)
            # Its name comes after BentoML's model.yaml in an archive, and it is longer than all the rest.
            (artifact / "weights.bin").write_bytes(random.Random(scale).randbytes(300_000))
            (artifact / "nested").mkdir()
            (artifact / "nested" / "notes.txt").write_text("a file in a folder")
            tags.append(store.save("demo", artifact, {"variant": {"name": "int8"}}, LABELS, METADATA).tag)
        bentofile = folder / "bentofile.yaml"
        bentofile.write_text(yaml.safe_dump(BUILD))
        return Packed(home, tags[1], tags[0], build_bento(home, tags[1], bentofile))


@pytest.fixture
def transmission() -> str:
    """How archives travel; parametrize it for another."""
    return "proxy"


@pytest.fixture
def registry(tmp_path, transmission):
    with running(tmp_path / "registry", transmission) as registry:
        yield registry


@pytest.fixture
def here(packed, registry) -> Machine:
    """Where the model was made."""
    return Machine(packed.home, registry)


@pytest.fixture
def elsewhere(tmp_path, registry) -> Machine:
    """Another machine, its stores empty."""
    return empty_machine(tmp_path / "elsewhere", registry)


@pytest.fixture
def third(tmp_path, registry) -> Machine:
    """Yet another."""
    return empty_machine(tmp_path / "third", registry)


def empty_machine(home: Path, registry=None) -> Machine:
    home.mkdir()
    return Machine(home, registry)


@pytest.fixture
def small_chunks(monkeypatch):
    """An archive of a few hundred kilobytes is sent in several parts."""
    for module in ("model", "bento"):
        monkeypatch.setattr(f"bentoml._internal.cloud.{module}.FILE_CHUNK_SIZE", 64 * 1024)
