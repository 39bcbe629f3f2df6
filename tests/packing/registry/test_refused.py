"""What is not whole, not as it was saved, or not allowed is refused with a message, and leaves nothing behind."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import httpx
import pytest
from bentoml.exceptions import BentoMLException

from quantbento import store
from quantbento.cli import main
from quantbento.core.errors import StoreError
from tests.packing.registry.machine import Machine
from tests.packing.registry.test_push_pull import TRANSMISSIONS

# The last is what becomes of a refused download: BentoML's client quotes an answer it has not read.
REFUSED = (BentoMLException, tarfile.ReadError, httpx.ResponseNotRead)
BROKEN_OFF = (BentoMLException, httpx.TransportError)


@pytest.mark.parametrize("transmission", TRANSMISSIONS)
def test_a_broken_push_of_a_model_is_repeated(packed, here, elsewhere, third, registry, small_chunks):
    registry.interrupt = "model"
    with pytest.raises(BROKEN_OFF):
        here.push_model(packed.model)
    assert registry.interrupt is None  # it was
    assert registry.archive("model", packed.model).is_file()
    assert not arrives_whole(elsewhere, packed.model)
    assert elsewhere.models() == {}

    registry.hands_out_halves = True
    assert not arrives_whole(elsewhere, packed.model)
    registry.hands_out_halves = False

    here.push_model(packed.model)
    assert arrives_whole(third, packed.model)
    assert third.model(packed.model) == here.model(packed.model)


def test_a_broken_push_of_a_bento_is_repeated(packed, here, elsewhere, third, registry):
    registry.interrupt = "bento"
    with pytest.raises(BROKEN_OFF):
        here.push_bento(packed.bento)
    assert registry.interrupt is None
    with pytest.raises(REFUSED):
        elsewhere.pull_bento(packed.bento)
    assert elsewhere.bento(packed.bento) == {}
    here.push_bento(packed.bento)
    third.pull_bento(packed.bento)
    assert third.bento(packed.bento) == here.bento(packed.bento)


def test_an_archive_cut_between_two_files_is_refused(packed, here, elsewhere, registry):
    """BentoML takes it: a tar file need not say where it ends."""
    here.push_model(packed.model)
    archive = registry.archive("model", packed.model)
    with tarfile.open(archive) as tar:
        cut = tar.getmember("./weights.bin").offset
    archive.write_bytes(archive.read_bytes()[:cut])
    elsewhere.pull_model(packed.model)
    with elsewhere.here(), pytest.raises(StoreError, match=r"weights\.bin was removed"):
        store.load(packed.model)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("model.onnx", b"another model", "model.onnx was changed"),
        ("nested/notes.txt", b"other notes", "nested/notes.txt was changed"),
        ("weights.bin", None, "weights.bin was removed"),
        ("hook.py", b"import os", "hook.py was added"),
        ("manifest.json", b'{"schema_version": 1, "files": {}}', "manifest.json was changed"),
    ],
)
def test_a_model_changed_in_the_registry_is_refused(packed, here, elsewhere, registry, capsys, file, content, problem):
    here.push_model(packed.model)
    rewrite(registry.archive("model", packed.model), file, content)
    elsewhere.pull_model(packed.model)
    with elsewhere.here():
        assert main(["verify", packed.model]) == 1
        assert problem in capsys.readouterr().out
        with pytest.raises(StoreError, match=problem):
            store.load(packed.model)


def test_another_models_archive_does_not_become_this_one(packed, here, elsewhere, registry):
    for tag in (packed.model, packed.older_model):
        here.push_model(tag)
    registry.archive("model", packed.older_model).replace(registry.archive("model", packed.model))
    elsewhere.pull_model(packed.model)
    with elsewhere.here(), pytest.raises(StoreError, match="no version"):
        store.find(packed.model)


def test_a_pull_that_was_interrupted_is_deleted_and_repeated(packed, here, elsewhere, monkeypatch, capsys):
    here.push_model(packed.model)

    def interrupted(_, target, **__):
        (target / "artifact.json").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("bentoml._internal.models.model.shutil.copytree", interrupted)
        elsewhere.pull_model(packed.model)
    with elsewhere.here():
        assert main(["verify", packed.model]) == 1
        assert f"damaged  {packed.model}" in capsys.readouterr().out
        assert main(["delete", packed.model, "--yes"]) == 0
    assert arrives_whole(elsewhere, packed.model)
    assert elsewhere.model(packed.model) == here.model(packed.model)


@pytest.mark.slow
def test_a_wrong_token_is_refused_and_stores_nothing(packed, here, elsewhere, registry):
    push = here.bentoml("models", "push", packed.model, BENTO_CLOUD_API_KEY="wrong")
    assert push.returncode == 1
    assert "401" in push.stderr
    assert registry.archives() == []
    push = here.bentoml("models", "push", packed.model)
    assert push.returncode == 0, push.stderr
    pull = elsewhere.bentoml("models", "pull", packed.model, BENTO_CLOUD_API_KEY="wrong")
    assert pull.returncode == 1
    assert "401" in pull.stderr
    assert elsewhere.models() == {}
    pull = elsewhere.bentoml("models", "pull", packed.model)
    assert pull.returncode == 0, pull.stderr
    assert elsewhere.model(packed.model) == here.model(packed.model)


@pytest.mark.slow
def test_an_endpoint_that_does_not_answer_ends_with_a_message(packed, here, registry):
    push = here.bentoml("models", "push", packed.model, BENTO_CLOUD_API_ENDPOINT="http://127.0.0.1:9")
    assert push.returncode == 1
    assert "refused" in push.stderr
    assert registry.archives() == []


def arrives_whole(machine: Machine, tag: str) -> bool:
    """Whether the model can be pulled and is then as it was saved."""
    try:
        machine.pull_model(tag)
        with machine.here():
            store.find(tag).verify()
    except (*REFUSED, StoreError):
        return False
    return True


def rewrite(archive: Path, file: str, content: bytes | None) -> None:
    """The archive with one file of other content, without it, or with one more."""
    with tarfile.open(archive) as tar:
        kept = [(member, tar.extractfile(member)) for member in tar.getmembers() if member.name != f"./{file}"]
        with tarfile.open(archive.with_suffix(".new"), "w") as new:
            for member, opened in kept:
                new.addfile(member, opened)
            if content is not None:
                added = tarfile.TarInfo(f"./{file}")
                added.size = len(content)
                new.addfile(added, io.BytesIO(content))
    archive.with_suffix(".new").replace(archive)
