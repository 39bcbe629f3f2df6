from __future__ import annotations

import json
from dataclasses import replace

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.making.sensitivity import measure
from quantbento.making.sensitivity.measure import sensitivity
from quantbento.making.sensitivity.quantized import Quantized
from tests.making.sensitivity.bad_layer import BAD, LAYERS, recipe, spoil_llama

WORST = f"blocks.{BAD}.0"
# The quantizer's name, its options, and whether it needs calibration samples.
ENGINES = [
    ("torch-dynamic", {}, False),
    ("torchao", {}, False),
    ("torch-static", {}, True),
    ("torch-export", {"compile": False}, True),
    ("onnx-dynamic", {}, False),
    ("onnx-static", {}, True),
    ("onnx-weights", {}, False),
    ("openvino", {}, True),
    ("openvino-weights", {}, False),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch, bento_home):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QUANTBENTO_CACHE_GB", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def variant(quantizer: str, options: dict | None = None) -> list[dict]:
    return [{"name": "v", "quantizer": quantizer, "options": options or {}}]


@pytest.mark.slow
@pytest.mark.parametrize(("quantizer", "options", "calibrated"), ENGINES, ids=[e[0] for e in ENGINES])
def test_a_spoilt_layer_is_the_worst_of_every_engine(quantizer, options, calibrated, tmp_path):
    found, path = sensitivity(recipe(variant(quantizer, options), calibrated), "v", samples=8, output=tmp_path)
    first, second = found.worst()[:2]
    assert first.module == WORST
    assert first.block == f"blocks.{BAD}"
    assert first.sqnr_db < 10 < second.sqnr_db
    assert first.parameters == 32 * 32
    assert first.activation["max_abs"] > 0
    told = json.loads(path.read_text())
    assert told["schema_version"] == 1
    assert told["layers"][0]["name"] == first.name
    assert told["complete"]
    assert told["samples"] == 8
    weighted = [layer for layer in told["layers"] if layer["parameters"]]
    assert [layer["module"] for layer in sorted(weighted, key=lambda layer: layer["order"])] == [
        *(f"blocks.{n}.0" for n in range(LAYERS)),
        "head",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["rtn", "smoothquant", "bnb-nf4"])
def test_a_spoilt_layer_is_the_worst_of_a_checkpoint(quantizer, trained_llama, tmp_path):
    folder = spoil_llama(trained_llama, tmp_path / "spoilt")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join("the film was good and the book was bad" for _ in range(200)))
    llama = recipe(variant(quantizer, {"group_size": 64} if quantizer == "rtn" else {}), False) | {
        "task": "text-generation",
        "task_options": {"window": 16, "windows": 4},
        "model": {"path": str(folder)},
        "evaluation": {"path": str(texts)},
    }
    if quantizer == "smoothquant":
        llama["calibration"] = {"path": str(texts), "sequences": 4, "sequence_length": 16}
    found, _ = sensitivity(llama, "v", samples=2, output=tmp_path)
    assert found.worst()[0].module == "model.layers.1.mlp.down_proj"
    assert found.samples == 2
    assert ("rounding to nearest" in found.measured) == (quantizer != "bnb-nf4")
    assert found.attention


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    asked = []
    real = Quantized.rows

    def rows(self, kept):
        asked.append(len(kept))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(self, kept)

    monkeypatch.setattr(Quantized, "rows", rows)
    given = recipe(variant("torch-dynamic"), False)
    with pytest.raises(KeyboardInterrupt):
        sensitivity(given, "v", samples=4, output=tmp_path)
    half = json.loads((tmp_path / "bad" / "sensitivity-v.json").read_text())
    assert (len(half["layers"]), half["complete"]) == (1, False)
    found, _ = sensitivity(given, "v", samples=4, output=tmp_path)
    assert len(asked) == 3 + LAYERS  # all layers together and the first alone are known
    assert found.complete
    sensitivity(given, "v", samples=5, output=tmp_path)
    assert len(asked) == 3 + LAYERS + LAYERS + 2, "other samples are another measurement"


def test_some_layers_by_a_pattern(tmp_path):
    given = recipe(variant("torch-dynamic"), False)
    found, _ = sensitivity(given, "v", samples=4, layers="blocks.[01].*", output=tmp_path)
    assert sorted(layer.module for layer in found.layers) == ["blocks.0.0", "blocks.1.0"]
    assert not found.complete
    with pytest.raises(QuantbentoError, match=r"--layers 'nothing' matches none of the 5 layers, such as blocks.0.0"):
        sensitivity(given, "v", samples=4, layers="nothing", output=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "mean_cosin"}, "--metric 'mean_cosin' is unknown.*tensor has"),
        ({"metric": "accuracy"}, "--metric 'accuracy' is not measured on these samples"),
        ({"samples": 0}, "--samples 0 is too few"),
    ],
)
def test_wrong_arguments(changes, message, tmp_path):
    with pytest.raises(QuantbentoError, match=message):
        sensitivity(recipe(variant("torch-dynamic"), False), "v", output=tmp_path, **changes)


def test_a_quantizer_that_cannot_keep_layers(tmp_path):
    with pytest.raises(QuantbentoError, match="torchscript cannot keep single layers"):
        sensitivity(recipe(variant("torchscript"), False), "v", output=tmp_path)


def test_a_layer_that_fails_alone_says_why(tmp_path, monkeypatch):
    real = Quantized.rows

    def rows(self, kept):
        if len(kept) == LAYERS and "head" not in kept:
            raise QuantbentoError("no kernel")
        return real(self, kept)

    monkeypatch.setattr(Quantized, "rows", rows)
    found, path = sensitivity(recipe(variant("torch-dynamic"), False), "v", samples=4, output=tmp_path)
    last = found.worst()[-1]
    assert (last.module, last.error, last.drop) == ("head", "no kernel", None)
    assert json.loads(path.read_text())["layers"][-1]["error"] == "no kernel"


def test_nothing_is_left_in_the_workspace(tmp_path, monkeypatch):
    seen = []
    real = measure._measure

    def watch(run, *arguments):
        done = real(run, *arguments)
        seen.extend(path.name for path in run.job.workspace.iterdir())
        return done

    monkeypatch.setattr(measure, "_measure", watch)
    sensitivity(recipe(variant("onnx-static"), True), "v", samples=4, output=tmp_path)
    assert [name for name in seen if name.startswith("tmp")] == []


def test_the_time_left_is_told_now_and_then(monkeypatch):
    told = []

    class Told:
        def say(self, text):
            told.append(text)

    times = iter([0.0, 10.0, 20.0, 21.0, 40.0])
    monkeypatch.setattr(measure.time, "monotonic", lambda: next(times))
    clock = measure._Clock(Told(), 4)
    for number in range(1, 5):
        clock.tell(f"layer {number}", number)
    assert told == ["2 of 4 layers, the last was layer 2; about 20 s left"]


def test_worst_first():
    from quantbento.making.sensitivity.rows import LayerCost, Sensitivity

    layer = LayerCost("a", "a", 0, "", "a", 1, 30.0, {}, 0.1)
    found = Sensitivity("r", "v", "q", "m", "torch", "so", 1)
    found.layers = [replace(layer, name="b", drop=None), layer, replace(layer, name="c", sqnr_db=20.0)]
    found.layers.append(replace(layer, name="d", drop=0.2, sqnr_db=99.0))
    assert [one.name for one in found.worst()] == ["d", "c", "a", "b"]
