"""A model or a Bento through one file, on disk or in a bucket, is the same on the other side."""

from __future__ import annotations

import bentoml
import httpx
import pytest

from quantbento import store
from tests.packing.registry.conftest import empty_machine
from tests.packing.registry.machine import Machine

BUCKET = "models"


@pytest.fixture(scope="module")
def bucket():
    """An S3 server with an empty bucket; the environment that finds it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    assert httpx.put(f"{url}/{BUCKET}").status_code == 200
    yield {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture
def here(packed) -> Machine:
    return Machine(packed.home)


@pytest.fixture
def elsewhere(tmp_path) -> Machine:
    return empty_machine(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["demo.bentomodel", "demo.tar", "demo.zip", "demo.tar.gz"])
def test_a_model_comes_back_from_a_file(packed, here, elsewhere, tmp_path, name):
    with here.here():
        written = bentoml.models.export_model(packed.model, str(tmp_path / name))
    assert written == str(tmp_path / name)
    with elsewhere.here():
        bentoml.models.import_model(written)
        store.find(packed.model).verify()
    assert elsewhere.model(packed.model) == here.model(packed.model)


@pytest.mark.parametrize("name", ["three.bento", "three.tar", "three.zip"])
def test_a_bento_comes_back_from_a_file_with_its_model(packed, here, elsewhere, tmp_path, name):
    before = here.bento(packed.bento)
    with here.here():
        written = bentoml.export_bento(packed.bento, str(tmp_path / name))
    with elsewhere.here():
        bentoml.import_bento(written)
    assert elsewhere.bento(packed.bento) == here.bento(packed.bento) == before
    assert elsewhere.model(packed.model) == here.model(packed.model)


@pytest.mark.slow
def test_the_commands_users_type_write_and_read_a_file(packed, here, elsewhere, tmp_path):
    file = tmp_path / "demo.tar"
    exported = here.bentoml("models", "export", packed.model, str(file))
    assert exported.returncode == 0, exported.stderr
    imported = elsewhere.bentoml("models", "import", str(file))
    assert imported.returncode == 0, imported.stderr
    assert elsewhere.model(packed.model) == here.model(packed.model)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["demo.bentomodel", "three-numbers.tar"])
def test_the_commands_users_type_write_and_read_a_bucket(packed, here, elsewhere, bucket, file):
    group, tag = (["models"], packed.model) if file.endswith("model") else ([], packed.bento)
    address = f"s3://{BUCKET}/some/folder/{file}"
    exported = here.bentoml(*group, "export", tag, address, **bucket)
    assert exported.returncode == 0, exported.stderr
    imported = elsewhere.bentoml(*group, "import", address, **bucket)
    assert imported.returncode == 0, imported.stderr
    assert elsewhere.model(packed.model) == here.model(packed.model)
    assert elsewhere.bento(packed.bento) == ({} if group else here.bento(packed.bento))


def test_importing_what_is_stored_already_is_refused_and_changes_nothing(packed, here, elsewhere, tmp_path):
    with here.here():
        written = bentoml.models.export_model(packed.model, str(tmp_path / "demo.tar"))
    with elsewhere.here():
        bentoml.models.import_model(written)
        with pytest.raises(bentoml.exceptions.BentoMLException, match="already exists"):
            bentoml.models.import_model(written)
        store.find(packed.model).verify()


def test_a_bento_is_imported_where_its_model_is_stored(packed, here, elsewhere, tmp_path):
    with here.here():
        written = bentoml.export_bento(packed.bento, str(tmp_path / "three.tar"))
        model = bentoml.models.export_model(packed.model, str(tmp_path / "demo.tar"))
    with elsewhere.here():
        bentoml.models.import_model(model)
        bentoml.import_bento(written)
        store.find(packed.model).verify()
    assert elsewhere.bento(packed.bento) == here.bento(packed.bento)


def test_a_relative_path_starts_at_the_root(packed, here, elsewhere, tmp_path, monkeypatch):
    """Not what one would wish, but docs/registry.md says so. Tried with import, which writes nothing there."""
    with here.here():
        bentoml.models.export_model(packed.model, str(tmp_path / "demo.tar"))
    monkeypatch.chdir(tmp_path)
    with elsewhere.here(), pytest.raises(FileNotFoundError, match=r"'/demo\.tar'"):
        bentoml.models.import_model("demo.tar")
