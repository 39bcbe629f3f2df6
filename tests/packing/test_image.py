"""An image is built from a Bento and measured by what its own `du` says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing.builders import Builder
from quantbento.packing.image import Image, containerize, measure, write_context
from tests.built_bento import built_encoder
from tests.conftest import model_store
from tests.fake_builder import FakeBuilder

# What `du` and `ls` print: of the base 1 line; of an image all, packages, models, the Bento, and the tools.
MEASURED = """case "$*" in
  *Config.User*) echo 1034:1034;;
  *my-base*) echo 100;;
  *run*) printf '%s\\n' 900 600 150 200 /usr/bin/gcc /app/.venv/bin/uv;;
esac"""


@pytest.fixture
def encoder(served_home):
    contents = built_encoder(served_home)
    with model_store(served_home):
        yield contents


@pytest.fixture
def docker(programs, no_settings):
    """A docker that measures as above; the only program, but for those that the script needs."""
    return programs("docker", MEASURED)


def test_an_image_is_measured_inside(docker):
    image = measure(Builder("docker"), "shop/encoder:1", "my-base")
    assert image == Image(
        name="shop/encoder:1",
        base_image="my-base",
        user="1034:1034",
        base_bytes=100 * 1024,
        total_bytes=900 * 1024,
        parts={"Python packages": 600 * 1024, "models": 150 * 1024, "code": 50 * 1024},
        build_tools=["/usr/bin/gcc", "/app/.venv/bin/uv"],
    )
    assert image.added_bytes == 800 * 1024


def test_the_script_looks_at_the_parts_and_for_every_tool(docker):
    measure(Builder("docker"), "image", "my-base")
    script = docker.calls[0][-1]
    assert "for p in /app/.venv /home/bentoml/bento/models /home/bentoml/bento;" in script
    assert "for t in gcc cc g++ clang make git uv;" in script


def test_its_script_is_one_that_a_plain_shell_runs(docker):
    """With stand-ins for `du` and the build tools, in this machine's shell."""
    measure(Builder("docker"), "image", "my-base")
    for name, prints in {"du": 'echo "$#00 $2"', "cut": "while read size _; do echo $size; done", "make": ""}.items():
        FakeBuilder(docker.path.with_name(name), prints)
    done = subprocess.run(["/bin/sh", "-c", docker.calls[0][-1]], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["200", *["200"] * 3, str(docker.path.with_name("make"))])


@pytest.mark.slow
def test_containerize_builds_what_write_wrote(encoder, docker):
    image = containerize(encoder.tag, base_image="my-base")
    build = next(call for call in docker.calls if call[0] == "build")
    folder = build[-1]
    assert build == ["build", "--tag", encoder.tag, "--file", f"{folder}/Containerfile", folder]
    assert not Path(folder).exists()
    assert (image.name, image.base_image) == (encoder.tag, "my-base")


@pytest.mark.slow
def test_the_build_sees_the_whole_context_and_the_base_image(encoder, docker, tmp_path):
    seen = tmp_path / "seen"
    copy = f'case "$1" in build) for last; do :; done; /bin/cp -r "$last" "{seen}";; esac\n{MEASURED}'
    FakeBuilder(tmp_path / "bin" / "docker", copy)
    containerize(encoder.tag, "shop/encoder:1", "my-base", "docker")
    assert sorted(p.name for p in seen.iterdir()) == ["Containerfile", "bento", "build", "models"]
    assert "FROM my-base AS base" in (seen / "Containerfile").read_text()
    assert (seen / "bento" / "sbom.cdx.json").is_file()


@pytest.mark.slow
def test_settings_become_build_arguments(encoder, docker, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://example.org/simple")
    containerize(encoder.tag, "shop/encoder:1", "my-base")
    build = next(call for call in docker.calls if call[0] == "build")
    assert build[1:5] == ["--build-arg", "UV_DEFAULT_INDEX=https://example.org/simple", "--tag", "shop/encoder:1"]


@pytest.mark.slow
def test_without_a_base_image_the_build_files_is_measured(encoder, docker):
    FakeBuilder(docker.path, MEASURED.replace("my-base", "python:3.11-slim"))
    assert containerize(encoder.tag).base_image == "python:3.11-slim"


@pytest.mark.slow
def test_a_failed_build_leaves_no_folder(encoder, docker, tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    FakeBuilder(docker.path, 'case "$1" in build) exit 1;; esac')
    with pytest.raises(QuantbentoError, match="docker build failed"):
        containerize(encoder.tag)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
def test_a_bento_without_its_sbom_gets_one(encoder, docker, tmp_path):
    """One that was pulled, or built by `bentoml build`."""
    (encoder.path / "sbom.cdx.json").unlink()
    write_context(encoder.tag, tmp_path / "new" / "folder")
    assert (encoder.path / "sbom.cdx.json").is_file()
    assert (tmp_path / "new" / "folder" / "bento" / "sbom.cdx.json").is_file()


@pytest.mark.slow
def test_an_empty_folder_is_written_to_and_the_arguments_are_given(encoder, docker, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    assert write_context(encoder.tag, tmp_path / "empty", "my-base") == {"PIP_INDEX_URL": "https://example.org/simple"}
    assert "FROM my-base AS base" in (tmp_path / "empty" / "Containerfile").read_text()


@pytest.mark.slow
def test_a_folder_with_something_in_it_is_refused_and_left_alone(encoder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(QuantbentoError, match=r"full is not empty; name a new folder with --context$"):
        write_context(encoder.tag, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine"]


@pytest.mark.slow
def test_a_file_is_no_folder(encoder, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(QuantbentoError, match=r"file is no folder; name a new one with --context$"):
        write_context(encoder.tag, tmp_path / "file")


@pytest.mark.slow
def test_an_unknown_bento_makes_no_folder(encoder, tmp_path):
    with pytest.raises(QuantbentoError, match="no Bento 'minilmm' in the store; did you mean 'minilm'"):
        write_context("minilmm", tmp_path / "new")
    assert not (tmp_path / "new").exists()
