"""What `render` refuses, and whose folders it may replace."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing import kubernetes
from tests.conftest import model_store
from tests.packing.test_kubernetes import render
from tests.packing.test_kubernetes_templates import KUBERNETES
from tests.stored_bento import GPU, write_bento


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with model_store(tmp_path / "home") as home:
        yield home / "bentos"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_all_problems_are_told_at_once(store):
    tag = write_bento(store, resources={"cpu": "2", "memory": "1GB", "gpu": 0.5, "gpu_type": "amd-mi300x"})
    with pytest.raises(QuantbentoError) as raised:
        render(tag, replicas=0, image="My Image", overlay="tpu")
    first, *problems = str(raised.value).splitlines()
    assert first == "my-encoder:v1 cannot be rendered:"
    expected = ["memory='1GB'", "gpu=0.5", "overlay 'tpu' is not 'cpu' or 'gpu'", "gpu_type 'amd-mi300x'"]
    expected += ["replicas must be at least 1, not 0", "image 'My Image' is not NAME"]
    assert len(problems) == len(expected)
    assert all(part in problem for part, problem in zip(expected, problems, strict=True))
    assert not Path("deploy").exists()


def test_a_bento_for_a_gpu_is_not_put_on_cpu(store):
    with pytest.raises(QuantbentoError, match="it asks for a GPU, which the overlay 'cpu' has not"):
        render(write_bento(store, resources=GPU), overlay="cpu")


def test_missing_templates_are_named(store, tmp_path):
    tag = write_bento(store)
    (tmp_path / "templates").mkdir()
    with pytest.raises(QuantbentoError, match=r"no templates base, overlays/cpu in .*/templates\. quantbento has"):
        kubernetes.render(tag, templates=tmp_path / "templates")


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_somebody_else_wrote_stays(store, kind):
    tag, output, other = write_bento(store), Path("output"), Path("other")
    other.mkdir()
    (other / "kustomization.yaml").write_text("resources: []\n")
    if kind == "folder":
        other.rename(output)
    elif kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(other)
    before = tree(Path.cwd())
    with pytest.raises(QuantbentoError, match=r"name another (folder|one) with --output"):
        render(tag, output=output)
    assert tree(Path.cwd()) == before


def test_templates_are_not_written_into(store, tmp_path):
    templates = tmp_path / "templates"
    shutil.copytree(KUBERNETES, templates)
    tag = write_bento(store)
    for output in (templates, templates / "base" / "mine"):
        with pytest.raises(QuantbentoError, match="is among the templates"):
            kubernetes.render(tag, templates=templates, output=output)
    assert tree(templates) == tree(KUBERNETES)


def test_a_folder_of_ours_is_replaced_as_a_whole(store):
    tag = write_bento(store)
    Path("output").mkdir()  # empty, which is nobody's
    render(tag, output=Path("output"), keda=True)
    render(tag, output=Path("output"))
    assert not Path("output", "components").exists()
    assert [p.name for p in Path.cwd().iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("step", ["copytree", "rename"])
def test_a_render_that_fails_leaves_the_folder_as_it_was(store, step, monkeypatch):
    tag, output = write_bento(store), Path("output")
    render(tag, output=output)
    before = tree(Path.cwd())

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    real = Path.rename
    with monkeypatch.context() as patch:
        if step == "copytree":
            patch.setattr(shutil, "copytree", full)
        else:  # of the new folder to its place; the old one is out of the way by then
            patch.setattr(Path, "rename", lambda a, b: full() if written(a) and b == output else real(a, b))
        with pytest.raises(QuantbentoError, match="output could not be written: No space left on device"):
            render(tag, output=output, keda=True)
    assert tree(Path.cwd()) == before


def written(folder: Path) -> bool:
    return folder.name.startswith(".output-") and not folder.name.endswith("-before")
