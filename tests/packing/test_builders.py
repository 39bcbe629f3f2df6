"""The command lines of the programs that build images, shown by stand-ins that write them down."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing.builders import BUILDERS, find

ALL = ["docker", "podman", "nerdctl", "buildah"]


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [(ALL, "docker"), (["buildah", "podman"], "podman"), (["buildah", "nerdctl"], "nerdctl"), (["buildah"], "buildah")],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_first_that_answers_is_taken(programs, installed, chosen):
    for name in installed:
        programs(name)
    assert find().name == chosen


def test_one_whose_daemon_does_not_run_is_passed_over(programs):
    docker = programs("docker", 'case "$1" in info) exit 1;; esac')
    programs("buildah")
    assert find().name == "buildah"
    assert docker.calls == [["info"]]


@pytest.mark.parametrize("name", ALL)
def test_a_name_chooses(programs, name, monkeypatch):
    for one in ALL:
        programs(one)
    assert find(name) is BUILDERS[name]
    monkeypatch.setenv("BENTOML_CONTAINERIZE_BACKEND", name)
    assert find() is BUILDERS[name]
    assert find("docker").name == "docker"  # what is asked for wins over the environment


def test_an_empty_variable_chooses_nothing(programs, monkeypatch):
    programs("buildah")
    monkeypatch.setenv("BENTOML_CONTAINERIZE_BACKEND", "")
    assert find().name == "buildah"


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_an_unknown_name_is_told_with_the_nearest_and_all(programs, monkeypatch, how):
    programs("podman")
    monkeypatch.setenv("BENTOML_CONTAINERIZE_BACKEND", "podmn")
    with pytest.raises(QuantbentoError) as raised:
        find("podmn" if how == "argument" else None)
    assert str(raised.value) == (
        "unknown builder 'podmn'; did you mean 'podman'? (allowed: 'docker', 'podman', 'nerdctl' or 'buildah')"
    )


def test_a_chosen_one_that_does_not_answer_is_an_error_whatever_else_is_there(programs):
    programs("buildah")
    with pytest.raises(QuantbentoError, match=r"^the builder 'docker' is not installed, or its daemon does not run"):
        find("docker")
    programs("podman", "exit 1")
    with pytest.raises(QuantbentoError, match=r"^the builder 'podman' is not installed"):
        find("podman")


def test_none_at_all_is_an_error_that_says_what_to_install(programs):
    with pytest.raises(QuantbentoError) as raised:
        find()
    assert str(raised.value) == (
        "no image builder is installed, or its daemon does not run (known: docker, podman, nerdctl, buildah). "
        "Without a daemon, on Debian: apt-get install buildah"
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("docker", []), ("nerdctl", []), ("podman", ["--format", "docker"]), ("buildah", ["--format", "docker"])],
)
def test_build_has_the_arguments_the_name_and_the_file(programs, name, options):
    """Podman and Buildah drop the health check from images in OCI's format, which is their default."""
    program = programs(name)
    BUILDERS[name].build(Path("/a/b"), "shop/encoder:1", {"PIP_INDEX_URL": "https://example.org/a b", "UV_INDEX": "x"})
    arguments = ["--build-arg", "PIP_INDEX_URL=https://example.org/a b", "--build-arg", "UV_INDEX=x"]
    assert program.calls == [
        ["build", *options, *arguments, "--tag", "shop/encoder:1", "--file", "/a/b/Containerfile", "/a/b"]
    ]


@pytest.mark.parametrize("name", ["docker", "buildah"])
def test_a_failed_build_is_an_error_below_what_the_program_said(programs, name, capfd):
    programs(name, "echo step 3 went wrong >&2; exit 1")
    with pytest.raises(QuantbentoError, match=f"^{name} build failed; what it said is above$"):
        BUILDERS[name].build(Path("/a"), "image", {})
    assert "step 3 went wrong" in capfd.readouterr().err


def test_dockers_command_in_an_image(programs):
    docker = programs("docker", "echo 12")
    assert BUILDERS["docker"].output("image", "du -s / | cut -f1") == "12\n"
    options = ["--rm", "--user", "0", "--network", "none", "--entrypoint", "/bin/sh"]
    assert docker.calls == [["run", *options, "image", "-c", "du -s / | cut -f1"]]


def test_buildahs_command_in_an_image(programs):
    buildah = programs("buildah", 'case "$1" in from) echo image-working-container;; run) echo 12;; esac')
    assert BUILDERS["buildah"].output("image", "du -s /") == "12\n"
    container = "image-working-container"
    assert buildah.calls == [
        ["from", "--pull-never", "image"],
        ["run", "--user", "0", container, "--", "/bin/sh", "-c", "du -s /"],
        ["rm", container],
    ]


def test_buildahs_container_is_removed_when_the_command_fails(programs):
    script = 'case "$1" in from) echo working;; run) echo no such file >&2; exit 1;; esac'
    buildah = programs("buildah", script)
    with pytest.raises(QuantbentoError, match=r"^buildah run --user 0 failed: no such file$"):
        BUILDERS["buildah"].output("image", "ls /missing")
    assert buildah.calls[-1] == ["rm", "working"]


def test_dockers_failed_command_is_an_error(programs):
    programs("docker", "echo no such file >&2; exit 1")
    with pytest.raises(QuantbentoError, match=r"^docker run --rm --user failed: no such file$"):
        BUILDERS["docker"].output("image", "ls /missing")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("docker", ["image", "inspect", "--format", "{{.Config.User}}", "image"]),
        ("buildah", ["inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}}", "image"]),
    ],
)
def test_the_user_of_an_image(programs, name, arguments):
    program = programs(name, "echo 1034:1034")
    assert BUILDERS[name].user("image") == "1034:1034"
    assert program.calls == [arguments]


@pytest.mark.parametrize(
    ("name", "inspect"),
    [("docker", ["image", "inspect", "image"]), ("buildah", ["inspect", "--type", "image", "image"])],
)
def test_an_image_is_fetched_only_where_it_is_not_here(programs, name, inspect):
    here = programs(name)
    assert BUILDERS[name].pull("image")
    assert here.calls == [inspect]
    not_here = programs(name, 'case "$*" in *inspect*) exit 1;; esac')
    assert BUILDERS[name].pull("image")
    assert not_here.calls == [inspect, ["pull", "image"]]
    nowhere = programs(name, "exit 1")
    assert not BUILDERS[name].pull("image")
    assert nowhere.calls == [inspect, ["pull", "image"]]
