"""The image of `quantbento containerize`, built and run: what is in it, and that it refuses a changed model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from examples import container as example
from quantbento import store
from quantbento.packing.builders import Buildah
from quantbento.packing.contents import Contents
from quantbento.packing.image import BENTO, Image, containerize
from tests.built_bento import built_encoder
from tests.conftest import model_store

pytestmark = [pytest.mark.slow, pytest.mark.container]
MEGABYTE = 1_000_000
TEXTS = ["the film was good", "a very dull book and a broken song"]


@pytest.fixture(scope="module")
def contents(served_home) -> Contents:
    return built_encoder(served_home)


@pytest.fixture(scope="module")
def image(builder, contents, served_home) -> Image:
    base = example.base_image(builder, contents)
    with model_store(served_home):
        return containerize(contents.tag, "localhost/quantbento-test", base, builder.name)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "container.log"


@pytest.mark.server
def test_it_answers_as_the_model_outside_of_it(builder, image, contents, served_home, log):
    with example.running(builder, image.name, log) as server:
        answers = example.encode(server, TEXTS)
        info = httpx.get(f"{server.url}/info").json()
    with model_store(served_home):
        stored = store.find("tiny-encoder-onnx-int8")
        assert np.abs(answers - np.asarray(stored.load()(TEXTS))).max() < 1e-5
        assert (info["model"], info["digest"], info["bento"]) == (stored.tag, stored.digest, contents.tag)


def test_it_has_no_build_tools_no_torch_and_no_root(builder, image):
    assert image.build_tools == []
    assert image.user == "1034:1034"
    site = "/app/.venv/lib/python3.11/site-packages"
    assert builder.output(
        image.name, f"cd {site} && ls -d onnxruntime torch transformers vllm 2> /dev/null || true"
    ).split() == ["onnxruntime"]
    owned = "find / -xdev -user 1034 -not -path '/proc/*'"
    assert builder.output(image.name, owned) == ""


def test_it_adds_at_most_500_megabytes_to_its_base(image):
    assert 100 * MEGABYTE < image.added_bytes <= 500 * MEGABYTE
    parts = image.parts
    assert parts["Python packages"] > 0.9 * image.added_bytes
    assert 0 < parts["models"] < MEGABYTE
    assert 0 < parts["code"] < 5 * MEGABYTE


def test_its_packages_are_those_of_the_bento_and_of_the_sbom(builder, image, contents):
    listed = builder.output(
        image.name, "cat /app/.venv/lib/python3.11/site-packages/*.dist-info/METADATA | grep -E '^(Name|Version):'"
    )
    lines = [line.split(": ", 1)[1] for line in listed.splitlines()]
    installed = {
        name.lower().replace("_", "-").replace(".", "-"): v for name, v in zip(lines[::2], lines[1::2], strict=True)
    }
    assert installed == contents.packages
    sbom = json.loads(builder.output(image.name, f"cat {BENTO}/sbom.cdx.json"))
    assert {c["name"]: c["version"] for c in sbom["components"] if c["type"] == "library"} == installed


def test_its_health_is_asked_of_the_service(builder, image):
    config = subprocess.run(
        [
            builder.name,
            *(["inspect", "--type", "image"] if isinstance(builder, Buildah) else ["image", "inspect"]),
            image.name,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "/readyz" in config
    assert "Healthcheck" in config


@pytest.mark.server
def test_a_model_changed_inside_is_refused_and_the_file_named(builder, image, tmp_path, log):
    model = builder.output(image.name, f"ls {BENTO}/models/*/*/model.onnx").strip()
    (tmp_path / "Containerfile").write_text(f"FROM {image.name}\nUSER 0\nRUN printf x >> {model}\nUSER 1034:1034\n")
    builder.build(tmp_path, "localhost/quantbento-test:changed", {})
    with (
        pytest.raises(RuntimeError, match="was not ready") as ended,
        example.running(builder, "localhost/quantbento-test:changed", log),
    ):
        pytest.fail("it serves a changed model")
    assert "is not as it was saved and will not be loaded: model.onnx was changed" in str(ended.value)


@pytest.mark.server
def test_it_runs_on_a_read_only_file_system(builder, image, log):
    if not isinstance(builder, Buildah):
        with example.running(builder, image.name, log):  # which is so already
            return
    script = """
        mount --bind $1 $1 && mount --bind /etc/hosts $1/etc/hosts && mount -o remount,ro,bind $1
        mount -t tmpfs tmpfs $1/tmp && mount --rbind /dev $1/dev && mount -t proc proc $1/proc
        exec chroot --userspec=1034:1034 $1 /usr/bin/env -i PATH=/app/.venv/bin:/usr/bin:/bin HOME=/tmp \
          BENTOML_HOME=/tmp/bentoml BENTO_PATH=$3 BENTOML_CONTAINERIZED=true \
          sh -c '! touch /app/written && exec $0/env/docker/entrypoint.sh serve --host 127.0.0.1 --port $1' $3 $2
    """
    with builder.container(image.name) as name:
        root = subprocess.run(["buildah", "mount", name], capture_output=True, text=True, check=True).stdout.strip()
        Path(root, "etc/hosts").touch()
        command = ["unshare", "--mount", "sh", "-ec", script, "sh", root, "{port}", BENTO]
        with example.serve(command, {}, log, example.READY_SECONDS) as server:
            assert example.encode(server, TEXTS).shape[0] == len(TEXTS)
        subprocess.run(["buildah", "umount", name], capture_output=True)
    assert "Read-only file system" in log.read_text()
