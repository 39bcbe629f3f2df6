"""A Bento packs one model version, and serves that one when the store holds a newer."""

from __future__ import annotations

import shutil
import subprocess
import sys

import httpx
import pytest
import yaml

from examples.server import bento, serve
from quantbento import store
from quantbento.serving.bento import Packed, model_to_pack, packed_in
from quantbento.serving.errors import CannotServe
from tests.conftest import ROOT, model_store


def test_only_a_bentos_src_has_a_packed_model(tmp_path):
    (tmp_path / "src").mkdir()
    assert packed_in(tmp_path / "src") is None
    description = "name: tiny\nversion: v1\nmodels: []\n"
    (tmp_path / "bento.yaml").write_text(f"{description}services:\n- models:\n  - tag: demo:abc\n")
    assert packed_in(tmp_path / "src") == Packed("tiny:v1", "demo:abc")
    assert packed_in(tmp_path) is None
    (tmp_path / "bento.yaml").write_text(f"{description}services:\n- models: []\n")
    assert packed_in(tmp_path / "src") is None


def test_the_version_to_pack_is_an_exact_one(served_home):
    with model_store(served_home):
        exact = store.find("tiny-encoder-onnx-int8").tag
        assert str(model_to_pack("tiny-encoder-onnx-int8").tag) == exact
        missing = model_to_pack("tiny-encodr-onnx-int8")
        with pytest.raises(CannotServe, match="did you mean 'tiny-encoder-onnx-int8'"):
            missing.to_info()


@pytest.mark.parametrize("method", ["to_info", "resolve"], ids=["built", "served"])
def test_wrong_settings_are_neither_built_nor_served(served_home, method):
    with model_store(served_home):
        refused = model_to_pack("tiny-encoder-onnx-int8", "setting 'max_items': no")
        with pytest.raises(CannotServe, match="setting 'max_items': no"):
            getattr(refused, method)()


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("how", ["quantbento build", "bentoml build"])
def test_a_bento_serves_its_own_version_after_a_newer_one_was_saved(served_home, tmp_path, how):
    """Also where the build file names a model without a version."""
    home = tmp_path / "bentoml"
    shutil.copytree(served_home / "models", home / "models")
    build = tmp_path / "tiny.yaml"
    data = yaml.safe_load((ROOT / "configs/bentos/minilm.yaml").read_text())
    build.write_text(yaml.safe_dump(data | {"name": "tiny", "args": {"model": "tiny-encoder-onnx-int8"}}))
    with model_store(home):
        old = store.find("tiny-encoder-onnx-int8")
        command = [sys.executable, "-m", "quantbento.cli", "build", str(build)]
        if how == "bentoml build":
            command = [sys.executable, "-m", "bentoml", "build", "-f", str(build), "."]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        # The same files under another manifest: a newer version.
        artifact = tmp_path / "artifact"
        shutil.copytree(old.path, artifact, ignore=shutil.ignore_patterns("manifest.json", "model.yaml"))
        newer = store.save("tiny-encoder-onnx-int8", artifact, {"variant": {}, "newer": True}, {}, {})
        assert store.find("tiny-encoder-onnx-int8").tag == newer.tag != old.tag
        own = {"BENTOML_HOME": str(home)}
        with serve(bento("tiny:latest"), own, tmp_path / "server.log") as server:
            assert httpx.post(f"{server.url}/encode", json={"texts": ["the film"]}).status_code == 200
            info = httpx.get(f"{server.url}/info").json()
        assert (info["model"], info["digest"]) == (old.tag, old.digest)
        assert info["bento"].startswith("tiny:")
        with (
            pytest.raises(RuntimeError, match=f"QUANTBENTO_MODEL={newer.tag}, but tiny:.* packs {old.tag}"),
            serve(bento("tiny:latest"), own | {"QUANTBENTO_MODEL": newer.tag}, tmp_path / "server.log"),
        ):
            pytest.fail("it serves another model than its own")
