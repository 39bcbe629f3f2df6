"""Which model a service serves, and what it says of it."""

from __future__ import annotations

import contextlib

import pytest

import service  # noqa: F401 - so that its services are known
from quantbento import __version__, store
from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.runtimes import artifact
from quantbento.serving import served
from quantbento.serving.bento import Packed
from quantbento.serving.errors import CannotServe
from quantbento.serving.model import ServedModel
from quantbento.serving.served import check_packages
from quantbento.serving.settings import ServiceSettings
from quantbento.tasks.tensor import TensorTask
from quantbento.tasks.text import TextTask
from tests.conftest import model_store
from tests.serving.stored import save_stand_in


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
    assert ServedModel(ServiceSettings(model=model), "tensor", "default", packed).tag == tag


def test_in_a_bento_its_model_is_found_by_itself(tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    description = "name: tiny\nversion: v1\nmodels: []\nservices:\n- models:\n  - tag: demo:abc\n"
    (tmp_path / "bento.yaml").write_text(description)
    monkeypatch.chdir(tmp_path / "src")  # as BentoML does before it imports a Bento's service
    assert ServedModel(ServiceSettings(model="mine"), "tensor", "default").tag == "demo:abc"


def test_a_model_beside_the_packed_one_is_refused(monkeypatch):
    serving = ServedModel(ServiceSettings(), "tensor", "default", Packed("bento:1", "mine:abc"))
    for harmless in ("", "mine", "mine:abc"):
        monkeypatch.setenv("QUANTBENTO_MODEL", harmless)
        serving.refuse_another_model()
    monkeypatch.setenv("QUANTBENTO_MODEL", "mine:def")
    with pytest.raises(CannotServe, match="QUANTBENTO_MODEL=mine:def, but bento:1 packs mine:abc"):
        serving.refuse_another_model()
    ServedModel(ServiceSettings(), "tensor", "default").refuse_another_model()


def test_a_version_saved_meanwhile_changes_nothing(demo_model, tmp_path):
    serving = ServedModel(ServiceSettings(model="demo-int8"), "tensor", "default")
    assert serving.stored.tag == demo_model.tag
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "model.onnx").write_bytes(b"newer")
    assert store.save("demo-int8", newer, {"variant": {}}, {}, {}).tag == store.find("demo-int8").tag != demo_model.tag
    assert serving.stored.tag == demo_model.tag


def test_info_names_the_model_by_its_digest(served_home):
    with model_store(served_home):
        stored = store.find("tiny-encoder-onnx-int8")
        serving = ServedModel(ServiceSettings(model="tiny-encoder-onnx-int8"), "feature-extraction", "default")
        assert serving.info() == {
            "model": stored.tag,
            "digest": stored.digest,
            "task": artifact.describe(stored.path)["task"],
            "runtime": "onnx",
            "scheme": "int8-dynamic",
            "bento": None,
            "quantbento": __version__,
        }
        packed = ServedModel(ServiceSettings(), "feature-extraction", "default", Packed("bento:1", stored.tag))
        assert packed.info()["bento"] == "bento:1"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (
            "tiny-classifier-torch-int8",
            "bentoml serve service:TextClassification --arg model=tiny-classifier-torch-int8:",
        ),
        ("tiny-tensor-onnx-int8", "bentoml serve service:TensorModel --arg model=tiny-tensor-onnx-int8:"),
    ],
)
def test_a_model_for_another_task_is_told_its_service(served_home, tag, said):
    with model_store(served_home), pytest.raises(CannotServe, match=said):
        ServedModel(ServiceSettings(model=tag), "feature-extraction", "unused").preflight()


def test_a_package_that_the_runtime_needs_is_named(served_home, monkeypatch):
    monkeypatch.setattr(served, "missing_packages", list)
    with (
        model_store(served_home),
        pytest.raises(CannotServe, match=r"package 'onnxruntime', .*pip install 'quantbento\[onnx\]'"),
    ):
        ServedModel(ServiceSettings(model="tiny-encoder-onnx-int8"), "feature-extraction", "unused").preflight()


def test_wrong_settings_are_refused_before_a_model_is_looked_for(bento_home, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "none")
    with pytest.raises(CannotServe, match=r"'max_items'.*not 'none'"):
        ServedModel(ServiceSettings.read(), "tensor", "gone").preflight()


def test_where_nothing_names_one_the_only_model_of_the_task_is_served(bento_home, tmp_path, monkeypatch):
    monkeypatch.delenv("QUANTBENTO_MODEL", raising=False)
    save_stand_in("encoder", "feature-extraction", tmp_path / "a")
    save_stand_in("moons", "tensor", tmp_path / "b")
    assert ServedModel(ServiceSettings(), "tensor").tag == "moons"
    assert ServedModel(ServiceSettings(), "tensor", default="mine").tag == "mine"
    assert ServedModel(ServiceSettings(model="given"), "tensor").tag == "given"
    with pytest.raises(CannotServe, match="no model for text-classification is stored, and none is named"):
        ServedModel(ServiceSettings(), "text-classification").preflight()
    save_stand_in("more-moons", "tensor", tmp_path / "c")
    with pytest.raises(CannotServe) as raised:
        ServedModel(ServiceSettings(), "tensor").preflight()
    assert str(raised.value).splitlines() == [
        "2 models for tensor are stored; say which:",
        "  bentoml serve service:TensorModel --arg model=moons       # tensor on onnx",
        "  bentoml serve service:TensorModel --arg model=more-moons  # tensor on onnx",
    ]


def test_workers_started_later_serve_the_model_that_was_the_only_one(bento_home, tmp_path, monkeypatch):
    monkeypatch.delenv("QUANTBENTO_MODEL", raising=False)
    first = save_stand_in("moons", "tensor", tmp_path / "a")
    with monkeypatch.context() as patch:  # which takes the variable away again
        patch.setenv("QUANTBENTO_MODEL", "")
        ServedModel(ServiceSettings(), "tensor").preflight()
        save_stand_in("moons", "tensor", tmp_path / "a", newer=True)
        save_stand_in("more-moons", "tensor", tmp_path / "b")
        worker = ServedModel(ServiceSettings.read(), "tensor")
        assert worker.stored.tag == first.tag != store.find("moons").tag
        named = ServedModel(ServiceSettings(model="more-moons"), "tensor")
        named.preflight()
        assert ServiceSettings.read().model == first.tag  # what is named needs no variable


def test_a_package_that_the_task_needs_is_named(monkeypatch, bento_home, tmp_path):
    monkeypatch.setattr(TensorTask, "modules", ("numpy", "a_package"))
    monkeypatch.setattr(TensorTask, "distributions", ("a-package",))
    save_stand_in("moons", "tensor", tmp_path / "a")
    with pytest.raises(CannotServe, match=r"tensor need the package 'a_package', .*run: pip install a-package$"):
        ServedModel(ServiceSettings(), "tensor").preflight()
    monkeypatch.setattr(TensorTask, "extra", "onnx")
    with pytest.raises(CannotServe, match=r"run: pip install 'quantbento\[onnx\]'$"):
        ServedModel(ServiceSettings(), "tensor").preflight()


@pytest.mark.parametrize("task", registry.TASKS)
def test_models_for_texts_need_tokenizers_and_no_others(monkeypatch, task):
    monkeypatch.setattr(served, "missing_packages", lambda names: [name for name in names if name == "tokenizers"])
    for runtime in ("torch", "onnx", "openvino", "litert"):
        told = contextlib.nullcontext()
        if issubclass(registry.task(task), TextTask):
            told = pytest.raises(QuantbentoError, match=r"'tokenizers', .* run: pip install 'quantbento\[text\]'$")
        with told:
            check_packages({"task": task, "runtime": runtime})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gpu": 1}, r"demo-int8:\S+ cannot run on cuda: ONNX Runtime \S+ is the build for CPUs.*was given gpu=1"),
        ({"device": "cuda:1"}, "cannot run on cuda:1: .*was given device=cuda:1"),
        ({"device": "xpu"}, "demo-int8:.* runs on cpu, cuda, not on xpu"),
    ],
    ids=["gpu", "device", "another-kind"],
)
def test_a_gpu_that_cannot_be_used_ends_the_start(demo_model, settings, told):
    with pytest.raises(CannotServe, match=told):
        ServedModel(ServiceSettings(model="demo-int8", **settings), "tensor", "default").preflight()
    ServedModel(ServiceSettings(model="demo-int8"), "tensor", "default").preflight()


def test_a_file_of_api_keys_that_cannot_be_used_ends_the_start_and_no_build(served_home, tmp_path):
    path = tmp_path / "keys"
    settings = ServiceSettings(model="tiny-encoder-onnx-int8", api_keys_file=path)
    assert settings.problem is None
    with model_store(served_home):
        for content, said in ((None, "cannot be read"), ("# none\n", "has no API key"), ("nonsense", "line 1 is not")):
            if content is not None:
                path.write_text(content)
            with pytest.raises(CannotServe, match=said):
                ServedModel(settings, "feature-extraction").preflight()
        path.write_text(f"ada:{'0' * 64}\n")
        ServedModel(settings, "feature-extraction").preflight()


def test_a_model_that_was_not_judged_ends_the_start(bento_home, tmp_path):
    unjudged = {"scheme": "int8-dynamic", "runtime": "onnx", "judged": False}
    stored = save_stand_in("later", "tensor", tmp_path / "artifact", variant=unjudged)
    serving = ServedModel(ServiceSettings(model="later"), "tensor")
    with pytest.raises(CannotServe, match=f"{stored.tag} was not judged. .*: quantbento judge {stored.tag}"):
        serving.preflight()
    with pytest.raises(StoreError, match="was not judged"):
        serving.load_version(stored)
