"""`quantbento build`, `containerize` and `sbom` as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quantbento import cli
from quantbento.packing import build as building
from quantbento.packing import context
from tests.built_bento import built_encoder
from tests.conftest import ROOT, model_store
from tests.fake_builder import FakeBuilder
from tests.packing.test_image import MEASURED


@pytest.fixture
def encoder(served_home, monkeypatch):
    """A built Bento in its store; the current folder is the project's, and `build` returns that Bento."""
    contents = built_encoder(served_home)
    monkeypatch.chdir(ROOT)
    for name in context.BUILD_ARGUMENTS:
        monkeypatch.delenv(name, raising=False)
    asked: list[tuple] = []
    monkeypatch.setattr(building, "build", lambda *arguments: asked.append(arguments) or contents)
    with model_store(served_home):
        yield contents, asked


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """The only folder in which programs are looked for."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("BENTOML_CONTAINERIZE_BACKEND", raising=False)
    return tmp_path / "bin"


@pytest.fixture
def docker(programs) -> FakeBuilder:
    return FakeBuilder(programs / "docker", MEASURED)


def built(docker: FakeBuilder) -> list[str]:
    """The arguments of `docker build`."""
    [call] = [call for call in docker.calls if call[0] == "build"]
    return call


@pytest.mark.slow
def test_build_says_what_went_in(encoder, capsys):
    contents, asked = encoder
    assert cli.main(["build", "minilm", "--model", "tiny-encoder-onnx-int8"]) == 0
    assert [arguments[:3] for arguments in asked] == [("minilm", "tiny-encoder-onnx-int8", None)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"bento     {contents.tag}"
    assert lines[1] == "service   service:Embedding, resources cpu 2, memory 1Gi"
    assert contents.models[0].stored.tag in lines[2]
    assert contents.models[0].digest in lines[2]
    assert len(lines) == 6


@pytest.mark.slow
def test_build_of_nothing_named_is_bentofile_yaml(encoder):
    assert cli.main(["build"]) == 0
    assert [arguments[:3] for arguments in encoder[1]] == [(None, None, None)]


@pytest.mark.slow
def test_what_a_build_has_to_say_goes_to_the_errors(encoder, capsys):
    assert cli.main(["build", "my-encoder", "--write", "configs/bentos/mine.yaml", "--gpu"]) == 0
    [(*asked, say)] = encoder[1]
    assert asked == ["my-encoder", None, Path("configs/bentos/mine.yaml"), True, []]
    capsys.readouterr()
    say("as it is")
    assert capsys.readouterr() == ("", "note: as it is\n")


@pytest.mark.slow
def test_build_and_containerize_in_one_go(encoder, docker, capsys):
    contents, _ = encoder
    options = ["--image", "shop/encoder:1", "--base-image", "my-base", "--builder", "docker"]
    assert cli.main(["build", "minilm", "--containerize", *options]) == 0
    assert built(docker)[1:3] == ["--tag", "shop/encoder:1"]
    out = capsys.readouterr().out
    assert out.startswith(f"bento     {contents.tag}")
    assert "base (my-base)" in out
    assert "user 1034:1034; build tools: /usr/bin/gcc, /app/.venv/bin/uv" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ([], "no image builder is installed"),
        (["--builder", "docker"], "the builder 'docker' is not installed"),
        (["--builder", "dockr"], "unknown builder 'dockr'; did you mean 'docker'?"),
    ],
    ids=["none", "named", "unknown"],
)
def test_a_builder_is_looked_for_before_the_work(encoder, programs, capsys, builder, said):
    assert cli.main(["build", "minilm", "--containerize", *builder]) == 2
    assert encoder[1] == []
    assert capsys.readouterr().err.startswith(f"error: {said}")


@pytest.mark.slow
def test_options_of_an_image_without_one_are_refused_before_the_work(encoder, capsys):
    assert cli.main(["build", "minilm", "--image", "a:1", "--base-image", "b"]) == 2
    assert encoder[1] == []
    assert capsys.readouterr().err == (
        "error: --image and --base-image would have no effect without --containerize; add it\n"
    )


@pytest.mark.slow
def test_containerize_names_the_image_after_the_bento(encoder, docker, capsys):
    contents, _ = encoder
    assert cli.main(["containerize", contents.tag, "--base-image", "my-base"]) == 0
    assert built(docker)[1:3] == ["--tag", contents.tag]
    assert capsys.readouterr().out.splitlines()[0].strip() == contents.tag


@pytest.mark.slow
def test_a_context_is_written_and_the_command_that_builds_it_told(encoder, docker, tmp_path, monkeypatch, capsys):
    contents, _ = encoder
    folder = tmp_path / "context"
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@example.org/simple")
    assert cli.main(["containerize", contents.tag, "--context", str(folder), "--base-image", "my-base"]) == 0
    assert capsys.readouterr().out == (
        f"wrote {folder}; build it with: docker build --build-arg PIP_INDEX_URL -f {folder}/Containerfile {folder}\n"
    )
    assert "FROM my-base AS base" in (folder / "Containerfile").read_text()
    assert docker.calls == []


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--image", "--builder"])
def test_a_context_takes_no_options_of_a_build(encoder, tmp_path, capsys, option):
    assert cli.main(["containerize", encoder[0].tag, "--context", str(tmp_path / "new"), option, "docker"]) == 2
    assert f"error: {option} would have no effect with --context, which builds nothing" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_sbom_prints_where_it_is(encoder, capsys):
    contents, _ = encoder
    assert cli.main(["sbom", contents.tag]) == 0
    assert capsys.readouterr().out == f"{contents.path / 'sbom.cdx.json'}\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["containerize"], ["containerize", "--context", "new"], ["sbom"]])
def test_an_unknown_bento_is_exit_code_2_with_the_nearest_name(encoder, docker, tmp_path, monkeypatch, command, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "minilmm"]) == 2
    assert capsys.readouterr().err.startswith("error: no Bento 'minilmm' in the store; did you mean 'minilm'?")
    assert not (tmp_path / "new").exists()


def test_what_is_neither_file_nor_model_is_exit_code_2_with_the_nearest_name(bento_home, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert cli.main(["build", "two-moon"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no build file and no stored model 'two-moon'; did you mean 'two-moons'? (build")
    assert error.endswith("; stored: nothing)\n")


def test_a_missing_model_is_exit_code_2_with_the_command_that_saves_it(bento_home, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert cli.main(["build", "two-moons"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 1 problem in configs/bentos/two-moons.yaml:\n  - no model 'two-moons-onnx-int8'")
    assert error.endswith("python save_models.py configs/two-moons.yaml\n")


def test_its_options_are_known_before_anything_heavy_is_imported():
    code = "import sys, quantbento.cli.bentos; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"bentoml", "yaml", "rich", "jinja2", "quantbento.packing.context"} & set(done.stdout.split())
