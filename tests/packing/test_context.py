"""What an image is built from: the Containerfile, readable copies, and this machine's settings for packages."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import urllib.request
from pathlib import Path

import pytest

from quantbento.packing import context
from quantbento.packing.contents import Contents
from tests.built_bento import WEIGHTS

pytestmark = [pytest.mark.usefixtures("no_settings"), pytest.mark.slow]


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "context").mkdir()
    return tmp_path / "context"


@pytest.fixture
def wheels(tmp_path) -> Path:
    (tmp_path / "wheels").mkdir()
    for name in ("torch", "OnnxRuntime", "typing_extensions", "uv"):
        (tmp_path / "wheels" / f"{name}-1.0-py3-none-any.whl").write_text(name)
    (tmp_path / "wheels" / "onnxruntime-1.0.tar.gz").touch()
    return tmp_path / "wheels"


def stages(contents: Contents, base_image: str | None = None) -> list[str]:
    """The text of each stage, without remarks."""
    text = re.sub(r"(?m)^\s*#.*\n", "", context.containerfile(contents, base_image))
    return re.split(r"(?m)^(?=FROM )", text)[1:]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_image_for_cpus(encoder):
    base, packages, final = stages(encoder)
    assert base.startswith("FROM python:3.11-slim AS base\n")
    assert "apt-get" not in base
    assert "uv venv --python 3.11 /app/.venv" in packages
    assert "UV_TORCH_BACKEND" not in packages
    assert "--no-build" in packages  # no compiler is needed
    assert "--start-period=120s" in final


def test_the_image_for_a_gpu(for_a_gpu):
    base, packages, final = stages(for_a_gpu)
    assert base.startswith("FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS base\n")
    assert "--no-install-recommends python3-venv python3-pip gcc libc6-dev python3-dev \\\n" in base
    assert "rm -rf /var/lib/apt/lists" in base
    assert "uv venv --python 3.12 /app/.venv" in packages
    assert "ENV PIP_BREAK_SYSTEM_PACKAGES=1\n" in packages
    assert "--start-period=600s" in final


def test_another_base_image_is_taken_instead(for_a_gpu):
    assert stages(for_a_gpu, "mine:1")[0].startswith("FROM mine:1 AS base\n")
    assert context.base_image_of(for_a_gpu).startswith("nvidia/cuda:")


@pytest.mark.parametrize(
    ("runtime", "seconds"), [("vllm", 600), ("transformers", 300), ("torch", 120), ("of-nobodys", 120), (None, 120)]
)
def test_a_container_has_as_long_to_start_as_its_runtime_takes(encoder, runtime, seconds):
    bento = dataclasses.replace(encoder.bento, labels={"runtime": runtime} if runtime else {})
    assert f"--start-period={seconds}s" in stages(dataclasses.replace(encoder, bento=bento))[-1]


def test_variables_of_the_build_file_hold_while_packages_are_installed_and_afterwards(encoder):
    variables = {"UV_TORCH_BACKEND": "cpu", "GREETING": "it's $HOME"}
    contents = dataclasses.replace(encoder, bento=dataclasses.replace(encoder.bento, environment=variables))
    base, packages, final = stages(contents)
    assert "ENV" not in base
    for stage in (packages, final):
        assert "ENV UV_TORCH_BACKEND=cpu\n" in stage
        assert "ENV GREETING='it'\"'\"'s $HOME'\n" in stage
    assert packages.index("UV_TORCH_BACKEND") < packages.index("uv pip install")


def test_the_last_stage_has_neither_build_tools_nor_settings_of_the_build(encoder, for_a_gpu):
    for contents in (encoder, for_a_gpu):
        base, packages, final = stages(contents)
        assert {*re.findall(r"(?m)^ARG (\w+)$", packages)} == set(context.BUILD_ARGUMENTS)
        assert "ARG" not in base
        assert final.startswith("FROM base\n")
        for word in ("ARG ", "pip install", "/build", "apt-get", "/opt/uv", "RUN ", "INDEX", "CERT"):
            assert word not in final
        assert re.findall(r"(?m)^COPY .*$", final) == [
            "COPY --from=packages /app/.venv /app/.venv",
            "COPY models /home/bentoml/bento/models",
            "COPY bento /home/bentoml/bento",
        ]


def test_it_runs_as_a_number_and_is_asked_whether_it_is_ready(encoder):
    final = stages(encoder)[-1]
    assert re.findall(r"(?m)^USER (.*)$", final) == ["1034:1034"]  # a name is not enough for runAsNonRoot
    [check] = re.findall(r"(?m)^HEALTHCHECK .*\n  CMD (.*)$", final)
    assert "/readyz" in check
    assert 'ENTRYPOINT ["/home/bentoml/bento/env/docker/entrypoint.sh"]' in final
    assert final.index("USER ") < final.index("ENTRYPOINT ")


def test_the_health_check_asks_the_port_that_is_set(encoder, monkeypatch):
    command = json.loads(re.search(r"(?m)^  CMD (.*)$", stages(encoder)[-1])[1])
    asked = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url))
    for variables in ({}, {"BENTOML_PORT": "8000"}, {"BENTOML_PORT": "8000", "PORT": "9000"}):
        for name in ("PORT", "BENTOML_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        exec(command[2])
    assert asked == [f"http://127.0.0.1:{port}/readyz" for port in (3000, 8000, 9000)]


def test_it_has_the_bento_its_models_and_the_requirements(encoder, folder):
    assert context.write(encoder, folder) == {}
    assert sorted(p.name for p in folder.iterdir()) == ["Containerfile", "bento", "build", "models"]
    assert (folder / "Containerfile").read_text() == context.containerfile(encoder)
    assert sorted(p.name for p in (folder / "build").iterdir()) == ["requirements.txt"]
    assert (folder / "build" / "requirements.txt").read_bytes() == encoder.requirements.read_bytes()
    for name in ("bento.yaml", "sbom.cdx.json", "src/service.py", "src/quantbento/serving/bento.py"):
        assert (folder / "bento" / name).read_bytes() == (encoder.path / name).read_bytes()


def test_models_lie_as_in_a_store(encoder, folder):
    context.write(encoder, folder)
    [model] = encoder.models
    name, _, version = model.stored.tag.partition(":")
    assert (folder / "models" / name / "latest").read_text() == version
    copied = {
        p.relative_to(folder / "models" / name / version) for p in (folder / "models" / name / version).rglob("*")
    }
    assert copied == {p.relative_to(model.stored.path) for p in model.stored.path.rglob("*")}


def test_what_python_compiled_stays_behind(encoder, folder, tmp_path):
    shutil.copytree(encoder.path, tmp_path / "bento")
    (tmp_path / "bento" / "src" / "__pycache__").mkdir()
    context.write(dataclasses.replace(encoder, path=tmp_path / "bento"), folder)
    assert not list(folder.rglob("__pycache__"))


def test_everyone_can_read_the_context_and_the_stores_own_files_keep_their_mode(for_a_gpu, folder):
    weights = for_a_gpu.models[0].stored.path / WEIGHTS
    assert mode(weights) == 0o600
    before = os.umask(0o077)
    try:
        context.write(for_a_gpu, folder)
    finally:
        os.umask(before)
    [copied] = folder.rglob(WEIGHTS)
    assert mode(copied) & 0o444 == 0o444
    assert copied.read_bytes() == weights.read_bytes()
    for path in folder.rglob("*"):
        wanted = 0o555 if path.is_dir() or path.name == "entrypoint.sh" else 0o444
        assert mode(path) & wanted == wanted, path
    assert mode(weights) == 0o600


def test_a_readable_file_is_not_there_twice(encoder, folder):
    """On one file system; pytest's folders are."""
    original = encoder.models[0].stored.path / "model.onnx"
    original.chmod(0o644)
    context.write(encoder, folder)
    [linked] = folder.rglob("model.onnx")
    assert linked.samefile(original)


def test_the_entrypoint_can_be_run_and_the_bentos_own_is_left_alone(encoder, folder):
    original = encoder.path / "env" / "docker" / "entrypoint.sh"
    before = mode(original)
    original.chmod(0o644)
    try:
        context.write(encoder, folder)
        assert mode(folder / "bento" / "env" / "docker" / "entrypoint.sh") & 0o555 == 0o555
        assert mode(original) == 0o644
    finally:
        original.chmod(before)


def test_settings_that_are_addresses_are_passed_on(encoder, folder, monkeypatch):
    given = {
        "PIP_INDEX_URL": "https://example.org/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "https://example.org/wheels",
    }
    for name, value in {**given, "PIP_TIMEOUT": "of no concern", "UV_INDEX": ""}.items():
        monkeypatch.setenv(name, value)
    assert context.write(encoder, folder) == given
    assert "example.org" not in (folder / "Containerfile").read_text()


def test_certificates_are_copied_and_renamed(encoder, folder, tmp_path, monkeypatch):
    for name in context.CERTIFICATES:
        (tmp_path / f"{name}-of-mine.crt").write_text(f"certificate {name}")
        monkeypatch.setenv(name, str(tmp_path / f"{name}-of-mine.crt"))
    arguments = context.write(encoder, folder)
    assert arguments.keys() == set(context.CERTIFICATES)
    for name, value in arguments.items():
        assert value.startswith("/build/")
        assert (folder / value.removeprefix("/")).read_text() == f"certificate {name}"


@pytest.mark.parametrize("names", [("PIP_FIND_LINKS",), ("UV_FIND_LINKS",), ("PIP_FIND_LINKS", "UV_FIND_LINKS")])
def test_of_a_folder_of_wheels_those_of_its_packages_are_copied(encoder, folder, wheels, monkeypatch, names):
    for name in names:
        monkeypatch.setenv(name, str(wheels))
    assert context.write(encoder, folder) == dict.fromkeys(names, "/build/wheels")
    assert sorted(p.name for p in (folder / "build" / "wheels").iterdir()) == [
        "OnnxRuntime-1.0-py3-none-any.whl",
        "typing_extensions-1.0-py3-none-any.whl",
        "uv-1.0-py3-none-any.whl",
    ]


def test_a_wheel_that_only_its_owner_can_read_is_copied_readable(encoder, folder, wheels, monkeypatch):
    private = wheels / "uv-1.0-py3-none-any.whl"
    private.chmod(0o600)
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    context.write(encoder, folder)
    assert mode(folder / "build" / "wheels" / private.name) & 0o444 == 0o444
    assert mode(private) == 0o600


def test_a_folder_of_wheels_without_any_of_its_packages_is_there_all_the_same(encoder, folder, tmp_path, monkeypatch):
    (tmp_path / "others").mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "others"))
    assert context.write(encoder, folder) == {"UV_FIND_LINKS": "/build/wheels"}
    assert list((folder / "build" / "wheels").iterdir()) == []
