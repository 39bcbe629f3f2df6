"""Which model a service serves, and what it says of it."""

from __future__ import annotations

import pytest

from quantbento import __version__, store
from quantbento.runtimes import artifact
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe
from quantbento.serving.served import Served
from quantbento.serving.settings import ServiceSettings
from tests.conftest import model_store


@pytest.mark.parametrize(
    ("model", "packed", "tag"),
    [
        (None, None, "default"),
        ("mine", None, "mine"),
        ("mine", Packed("bento:1", "mine:abc"), "mine:abc"),
        (None, Packed("bento:1", "mine:abc"), "mine:abc"),
    ],
    ids=["default", "setting", "packed-beats-setting", "packed"],
)
def test_the_model_is_the_packed_one_or_the_settings_or_the_default(model, packed, tag):
    assert Served(ServiceSettings(model=model), "default", packed).tag == tag


def test_a_model_beside_the_packed_one_is_refused(monkeypatch):
    served = Served(ServiceSettings(), "default", Packed("bento:1", "mine:abc"))
    for harmless in ("", "mine", "mine:abc"):
        monkeypatch.setenv("QUANTBENTO_MODEL", harmless)
        served.refuse_another_model()
    monkeypatch.setenv("QUANTBENTO_MODEL", "mine:def")
    with pytest.raises(CannotServe, match="QUANTBENTO_MODEL=mine:def, but bento:1 packs mine:abc"):
        served.refuse_another_model()
    Served(ServiceSettings(), "default").refuse_another_model()


def test_a_version_saved_meanwhile_changes_nothing(demo_model, tmp_path):
    served = Served(ServiceSettings(model="demo-int8"), "default")
    assert served.stored.tag == demo_model.tag
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "model.onnx").write_bytes(b"newer")
    assert store.save("demo-int8", newer, {"variant": {}}, {}, {}).tag == store.find("demo-int8").tag != demo_model.tag
    assert served.stored.tag == demo_model.tag


def test_info_names_the_model_by_its_digest(served_home):
    with model_store(served_home):
        stored = store.find("tiny-encoder-onnx-int8")
        served = Served(ServiceSettings(model="tiny-encoder-onnx-int8"), "default", None)
        assert served.info() == {
            "model": stored.tag,
            "digest": stored.digest,
            "task": artifact.describe(stored.path)["task"],
            "runtime": "onnx",
            "scheme": "int8-dynamic",
            "bento": None,
            "quantbento": __version__,
        }
        packed = Served(ServiceSettings(), "default", Packed("bento:1", stored.tag))
        assert packed.info()["bento"] == "bento:1"
