"""What was made without judging is judged later as a normal run would have, and only by the recipe it was made with."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from quantbento import store
from quantbento.core.errors import QuantbentoError, RecipeError, StoreError
from quantbento.judging.report import card
from quantbento.making import pipeline
from quantbento.making.judging_later import MADE_ON, judge
from quantbento.store import aliases, labels, signing
from tests.minimal_recipe import minimal

VARIANTS = [{"name": "int8", "quantizer": "onnx-dynamic"}, {"name": "torch", "quantizer": "torch-dynamic"}]


def recipe(**changes) -> dict:
    return minimal(
        model={"factory": "tests.tiny_tensor:model"},
        custom_objects={"preprocess": "tests.tiny_tensor:preprocess"},
        evaluation={"factory": "tests.tiny_tensor:samples"},
        benchmark={"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        gates={"min": {"sqnr_db": 10}},
        variants=VARIANTS,
        **changes,
    )


def made(tmp_path, given: dict | None = None, **more) -> store.StoredModel:
    """`moons-int8`, made and not judged; its report is in `reports`."""
    report = pipeline.save(given or recipe(), variants=["int8"], output=tmp_path / "reports", judge="none", **more)
    assert report.exit_code == 3, report.variants
    return store.find("moons-int8")


def test_it_is_stored_as_not_judged_and_nothing_was_compared(tmp_path, bento_home):
    model = made(tmp_path)
    found = labels.read(model)
    assert found["judged"] == "false" and "passed" not in found
    kept = model.verify()
    row = kept["variant"]
    assert (row["judged"], row["passed"], row["metrics"], row["speedup"]) == (False, False, {}, None)
    assert row["checked"]["parsed"] >= 2
    assert kept["baseline"] is None and kept["references"] == []
    written = json.loads((tmp_path / "reports" / "moons" / "report.json").read_text())
    assert written["baseline"] is None and written["variants"][0]["judged"] is False
    assert "not judged" in (tmp_path / "reports" / "moons" / "report.html").read_text()
    assert "It was not judged" in (model.path / card.CARD).read_text()


def test_it_is_judged_as_a_normal_run_does(tmp_path, bento_home):
    before = made(tmp_path)
    done = judge("moons-int8", output=tmp_path / "reports")
    normal = pipeline.save(recipe(), variants=["int8"], output=tmp_path / "normal", force=True)
    model, other = store.find(done.after), store.find(normal.variants[0].tag)
    own, theirs = (m.verify() for m in (model, other))
    assert done.report.exit_code == 0 and own["variant"]["passed"] and own["variant"]["judged"]
    assert own.keys() - theirs.keys() == {MADE_ON}
    assert own["recipe"] == theirs["recipe"] and own["fingerprint"] == theirs["fingerprint"]
    for figure in ("metrics", "recovery", "intervals", "size_bytes", "robustness", "quantized"):
        assert own["variant"][figure] == theirs["variant"][figure], figure
    measured = [g | {"value": None} for g in own["variant"]["gates"]]
    assert measured == [g | {"value": None} for g in theirs["variant"]["gates"]] and measured
    assert labels.read(model) == labels.read(other)
    assert "All figures were measured" in (model.path / card.CARD).read_text()
    with pytest.raises(StoreError):
        store.find(before.tag)
    again = pipeline.save(recipe(), variants=["int8"], output=tmp_path / "again")
    assert again.variants[0].reused


def test_its_row_takes_the_place_of_the_unjudged_one(tmp_path, bento_home):
    given = recipe() | {"variants": [VARIANTS[1], VARIANTS[0] | {"judge": "none"}]}
    report = pipeline.save(given, output=tmp_path / "reports")
    assert report.exit_code == 3
    assert [(v.passed, v.judged) for v in report.variants] == [(True, True), (False, False)]
    done = judge("moons-int8", output=tmp_path / "reports")
    written = json.loads(done.path.read_text())
    assert [(v["name"], v["passed"], v["judged"]) for v in written["variants"]] == [
        ("torch", True, True),
        ("int8", True, True),
    ]
    assert written["baseline"]["name"] == "torch-fp32"
    assert [r["name"] for r in written["references"]] == ["torch-bf16", "onnx-fp32"] or written["references"]
    assert written["provenance"]["recipe"]["order"] == ["torch", "int8"]


def test_one_that_fails_is_stored_labelled_so(tmp_path, bento_home):
    made(tmp_path, recipe() | {"gates": {"min": {"sqnr_db": 1000}}})
    done = judge("moons-int8", output=tmp_path / "reports")
    assert done.report.exit_code == 1
    assert labels.read(store.find(done.after))["passed"] == "false"


def test_it_is_judged_once(tmp_path, bento_home):
    made(tmp_path)
    done = judge("moons-int8", output=tmp_path / "reports")
    with pytest.raises(StoreError, match=f"{done.after} was judged already, and passed"):
        judge("moons-int8", output=tmp_path / "reports")


def test_a_recipe_that_names_files_has_to_be_given(tmp_path, bento_home):
    (tmp_path / "samples.jsonl").write_text("\n".join(json.dumps({"x": [i, 1, 2, 3]}) for i in range(8)))
    given = recipe() | {"evaluation": {"factory": "tests.tiny_tensor:samples", "count": 16}}
    given |= {"model": {"onnx": str(onnx_file(tmp_path))}}
    del given["custom_objects"]
    path = tmp_path / "moons.yaml"
    path.write_text(yaml.safe_dump(given))
    model = made(tmp_path, path)
    with pytest.raises(StoreError, match=f"quantbento judge {model.tag} --recipe PATH"):
        judge("moons-int8", output=tmp_path / "reports")
    assert str(tmp_path) not in (model.path / "manifest.json").read_text()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(tmp_path / "model.onnx", moved / "model.onnx")
    path.write_text(yaml.safe_dump(given | {"model": {"onnx": str(moved / "model.onnx")}}))
    assert judge("moons-int8", recipe=path, output=tmp_path / "reports").report.exit_code == 0


def onnx_file(folder):
    import torch

    from tests.tiny_tensor import model

    path = folder / "model.onnx"
    torch.onnx.export(
        model(),
        (torch.zeros(1, 4),),
        path,
        dynamo=False,
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        input_names=["x"],
        output_names=["y"],
    )
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"gates": {"min": {"sqnr_db": 5}}}, r"variants\[0\].gates: is .*5.0.*; the model was made with .*10.0"),
        ({"variants": [VARIANTS[0] | {"options": {"per_channel": False}}]}, "options: is {'per_channel': False}"),
        ({"variants": VARIANTS[1:]}, "no variant 'int8'"),
        ({"evaluation": {"factory": "tests.tiny_tensor:samples", "count": 8}}, "evaluation: is "),
        ({"model": {"factory": "examples.two_moons:model"}}, "model: it is not what moons-int8:.* was made with"),
        ({"task": "tensors"}, "unknown task"),
    ],
)
def test_another_recipe_is_refused_and_the_store_stays(tmp_path, bento_home, change, told):
    model = made(tmp_path)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(recipe() | change))
    with pytest.raises(RecipeError, match=told):
        judge("moons-int8", recipe=tmp_path / "other.yaml", output=tmp_path / "reports")
    assert store.find("moons-int8").tag == model.tag


def test_a_function_that_returns_another_model_is_refused(tmp_path, bento_home, monkeypatch):
    model = made(tmp_path)
    import torch

    import tests.tiny_tensor as code

    original = code.model

    def other():
        module = original()
        with torch.no_grad():
            module[0].weight += 1
        return module

    monkeypatch.setattr(code, "model", other)
    with pytest.raises(QuantbentoError, match=r"tests.tiny_tensor:model returns another model here"):
        judge("moons-int8", output=tmp_path / "reports")
    assert store.find("moons-int8").tag == model.tag


def test_a_report_of_another_model_is_not_added_to(tmp_path, bento_home):
    made(tmp_path)
    path = tmp_path / "reports" / "moons" / "report.json"
    other = json.loads(path.read_text())
    other["provenance"]["source"] = {"sha256": "another"}
    path.write_text(json.dumps(other))
    with pytest.raises(QuantbentoError, match=r"nothing can be added to (.*\n)*.*name another folder with --output"):
        judge("moons-int8", output=tmp_path / "reports")


def test_a_signature_is_told_of_or_made_anew(tmp_path, bento_home):
    private, public = signing.keygen(tmp_path / "release")
    model = made(tmp_path)
    signing.sign(model.path, model.tag, private)
    with pytest.raises(QuantbentoError, match=r"gone.pem cannot be read"):
        judge("moons-int8", output=tmp_path / "reports", key=tmp_path / "gone.pem")
    done = judge("moons-int8", output=tmp_path / "reports")
    assert any(f"quantbento sign {done.after} --key NAME.pem" in note for note in done.notes)
    store.delete(done.after)
    made(tmp_path)
    after = store.find(judge("moons-int8", output=tmp_path / "reports", key=private).after)
    assert signing.check(after.path, after.tag, [public]) == public


def test_an_alias_keeps_the_unjudged_version(tmp_path, bento_home):
    model = made(tmp_path)
    aliases.promote(model.tag, "canary", force=True)
    done = judge("moons-int8:canary", output=tmp_path / "reports")
    assert store.find("moons-int8:canary").tag == model.tag
    assert any(f"quantbento promote {done.after} --as canary" in note for note in done.notes)


def test_neither_the_quantizers_packages_nor_its_samples_are_needed(tmp_path, bento_home, monkeypatch):
    made(tmp_path)
    monkeypatch.setattr("quantbento.quantizers.onnx.dynamic.OnnxDynamic.modules", ("not_installed_here",))
    monkeypatch.setattr("quantbento.quantizers.onnx.dynamic.OnnxDynamic.needs", lambda self, options: "calibration")
    assert judge("moons-int8", output=tmp_path / "reports").report.exit_code == 0
