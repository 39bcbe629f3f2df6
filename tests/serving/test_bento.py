"""A Bento packs the model version of its day, and serves that one when the store holds a newer."""

from __future__ import annotations

import shutil
import subprocess
import sys

import httpx
import pytest
import yaml

from benchmarks.server import bento, serve
from quantbento import store
from quantbento.serving.bento import model_to_pack, packed_model
from quantbento.serving.errors import CannotServe
from tests.conftest import ROOT, model_store

BUILD = {
    "service": "service:Embedding",
    "name": "tiny",
    "include": ["service.py", "src/quantbento/**/*.py"],
    "python": {"is_src_layout": True, "lock_packages": False},
}


def test_only_a_bentos_src_has_a_packed_model(tmp_path):
    (tmp_path / "src").mkdir()
    assert packed_model(tmp_path / "src") is None
    (tmp_path / "bento.yaml").write_text("models: []\nservices:\n- models:\n  - tag: demo:abc\n")
    assert packed_model(tmp_path / "src") == "demo:abc"
    assert packed_model(tmp_path) is None
    (tmp_path / "bento.yaml").write_text("services:\n- models: []\n")
    assert packed_model(tmp_path / "src") is None


def test_the_version_to_pack_is_an_exact_one(served_home):
    with model_store(served_home):
        exact = store.find("tiny-encoder-onnx-int8").tag
        assert str(model_to_pack("tiny-encoder-onnx-int8").tag) == exact
        missing = model_to_pack("tiny-encodr-onnx-int8")
        with pytest.raises(CannotServe, match="did you mean 'tiny-encoder-onnx-int8'"):
            missing.to_info()


@pytest.mark.slow
@pytest.mark.server
def test_a_bento_serves_its_own_version_after_a_newer_one_was_saved(served_home, tmp_path):
    home = tmp_path / "bentoml"
    shutil.copytree(served_home / "models", home / "models")
    with model_store(home):
        old = store.find("tiny-encoder-onnx-int8")
        build = tmp_path / "bentofile.yaml"
        build.write_text(yaml.safe_dump(BUILD))
        command = [sys.executable, "-m", "bentoml", "build", "-f", str(build), str(ROOT), "--output", "tag"]
        environment = {"BENTOML_HOME": str(home), "QUANTBENTO_MODEL": "tiny-encoder-onnx-int8", "PATH": ""}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        tag = done.stdout.strip().removeprefix("__tag__:")
        # The same files under another manifest: a newer version.
        artifact = tmp_path / "artifact"
        shutil.copytree(old.path, artifact, ignore=shutil.ignore_patterns("manifest.json", "model.yaml"))
        newer = store.save("tiny-encoder-onnx-int8", artifact, {"variant": {}, "newer": True}, {}, {})
        assert store.find("tiny-encoder-onnx-int8").tag == newer.tag != old.tag
        log = tmp_path / "server.log"
        with serve(bento(tag), {"BENTOML_HOME": str(home)}, log) as server:
            assert httpx.post(f"{server.url}/encode", json={"texts": ["the film"]}).status_code == 200
        assert f"Serving {old.tag}" in log.read_text()
