"""Models that are one file are read and identified; a file of another kind is named for what it is."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from quantbento.core.errors import QuantbentoError, RecipeError
from quantbento.inputs import model_files as own
from quantbento.inputs.source import NamedModel
from quantbento.making import plan
from quantbento.recipe import ModelSpec
from tests import model_files
from tests.jobs import load_source, numbers, onnx_file

FACTORY = "tests.model_files:unlike"


def answers(module):
    with torch.inference_mode():
        return module(x=torch.from_numpy(numbers(4, 16)), shift=torch.ones(4, 1))


def specs(folder):
    return {
        "torchscript": ModelSpec(torchscript=model_files.torchscript(folder)),
        "exported": ModelSpec(exported=model_files.exported(folder)),
        "weights": ModelSpec(factory=FACTORY, weights=model_files.weights(folder)),
    }


@pytest.mark.parametrize("kind", ["torchscript", "exported", "weights"])
def test_each_computes_what_the_module_does(tmp_path, kind):
    source = load_source(specs(tmp_path)[kind], "tensor")
    assert source.kind == "module"
    expected, found = answers(model_files.small()), answers(source.module)
    torch.testing.assert_close(found["scores"], expected["scores"])
    assert found["best"].dtype == torch.int64
    assert not torch.allclose(answers(model_files.unlike())["scores"], expected["scores"])


@pytest.mark.parametrize("kind", ["torchscript", "exported", "weights"])
def test_the_identity_is_the_file_s(tmp_path, kind):
    spec = specs(tmp_path)[kind]
    before = NamedModel(spec).identity()
    assert NamedModel(spec).identity() == before
    path = getattr(spec, kind)
    path.write_bytes(path.read_bytes() + b" ")
    assert NamedModel(spec).identity() != before


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    """A file of each kind, by what it is."""
    folder = tmp_path_factory.mktemp("files")
    torch.save(model_files.small().state_dict(), folder / "state.pt")
    torch.save(model_files.small().state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    (folder / "plain.pkl").write_bytes(pickle.dumps({"a": 1}))
    (folder / "text.pt").write_text("no model")
    (folder / "empty.pt").write_bytes(b"")
    return {
        "torchscript": model_files.torchscript(folder),
        "exported": model_files.exported(folder),
        "weights": model_files.weights(folder),
        "onnx": onnx_file(folder / "a.onnx", [("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}, {}),
        "state": folder / "state.pt",
        "old": folder / "old.pt",
        "pickle": folder / "plain.pkl",
        "text": folder / "text.pt",
        "empty": folder / "empty.pt",
    }


SAID = {
    "torchscript": "is TorchScript; .*name it with `torchscript:`",
    "exported": "is a torch.export program; .*name it with `exported:`",
    "weights": "is safetensors; .*name it with `weights:`, beside the `factory:`",
    "onnx": "is an ONNX graph; .*name it with `onnx:`",
    "state": "is a pickle, .*so it is not read; .*save_model.* `weights:`",
    "old": "is a pickle, ",
    "pickle": "is a pickle, ",
    "text": "is of no kind that is known here",
    "empty": "is of no kind that is known here",
}


@pytest.mark.parametrize("wanted", ["torchscript", "exported", "weights"])
@pytest.mark.parametrize("given", SAID)
def test_a_file_of_another_kind_is_named_with_what_to_do(every_kind, wanted, given):
    if given == wanted:
        own.check_kind(every_kind[given], wanted)
        return
    with pytest.raises(QuantbentoError, match=SAID[given]):
        own.check_kind(every_kind[given], wanted)


def test_no_pickle_is_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    for name, save in {"new.pt": torch.save, "old.pt": lambda o, f: f.write_bytes(pickle.dumps(o))}.items():
        save(Trap(), tmp_path / name)
        for spec in (
            ModelSpec(torchscript=tmp_path / name),
            ModelSpec(exported=tmp_path / name),
            ModelSpec(factory=FACTORY, weights=tmp_path / name),
        ):
            with pytest.raises(QuantbentoError, match="is a pickle"):
                load_source(spec, "tensor")


def test_a_damaged_file_is_one_sentence(tmp_path):
    for kind, path in {
        "torchscript": model_files.torchscript(tmp_path),
        "exported": model_files.exported(tmp_path),
    }.items():
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "less", "w") as less:
            for name in whole.namelist():
                if not name.endswith((".py", "model.json")):
                    less.writestr(name, whole.read(name))
        (tmp_path / "less").replace(path)
        with pytest.raises(QuantbentoError, match=rf"{path.name} cannot be read by torch \d.*: "):
            load_source(ModelSpec(**{kind: path}), "tensor")


def refused(tensors, tmp_path, message):
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(QuantbentoError, match=message):
        load_source(ModelSpec(factory=FACTORY, weights=tmp_path / "a.safetensors"), "tensor")


def test_weights_of_another_module_are_listed(tmp_path):
    given = dict(model_files.small().state_dict())
    given["first.weight"] = given.pop("first.weight")[:8].contiguous()
    given["head.bias"] = given.pop("last.bias")
    given["last.weight"] = given["last.weight"].to(torch.int8)
    refused(
        given,
        tmp_path,
        r"does not hold the weights of the module that 'tests.model_files:unlike' returns: 1 missing: last.bias; "
        r"1 unexpected: head.bias; 1 of another shape: first.weight \(8, 16\), not \(64, 16\); "
        r"1 quantized, which must be in full precision: last.weight torch.int8$",
    )
    refused({f"a{i}": torch.ones(1) for i in range(9)}, tmp_path, "9 unexpected: a0, a1, a2, a3, a4, ...$")


def test_half_precision_weights_are_read_as_float32(tmp_path):
    from safetensors.torch import save_file

    save_file({k: v.bfloat16() for k, v in model_files.small().state_dict().items()}, tmp_path / "a.safetensors")
    module = load_source(ModelSpec(factory=FACTORY, weights=tmp_path / "a.safetensors"), "tensor").module
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert not module.training


def test_tied_weights_are_stored_once_and_none_is_missing(tmp_path):
    from safetensors.torch import save_model

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.head.weight = self.table.weight

    first, second = Tied(), Tied()
    save_model(first, str(tmp_path / "a.safetensors"))
    own.load_weights(second, tmp_path / "a.safetensors", "a:b")
    assert torch.equal(second.head.weight, first.table.weight)


def test_a_damaged_safetensors_file_is_one_sentence(tmp_path):
    path = model_files.weights(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(QuantbentoError, match=r"small.safetensors cannot be read: SafetensorError: "):
        load_source(ModelSpec(factory=FACTORY, weights=path), "tensor")


def test_weights_are_for_a_module(tmp_path, tiny_encoder, monkeypatch):
    (tmp_path / "gives_a_folder.py").write_text(f"def model():\n    return {str(tiny_encoder)!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = ModelSpec(factory="gives_a_folder:model", weights=model_files.weights(tmp_path))
    with pytest.raises(QuantbentoError, match="`weights` are for a module; 'gives_a_folder:model' returns the path"):
        load_source(spec, "tensor")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weights": "file"}, "exactly one of"),
        ({"onnx": "file", "weights": "file"}, "weights goes with factory"),
        ({"torchscript": "file", "exported": "file"}, "exactly one of .*'torchscript' or 'exported' is needed, not 2"),
        ({"torchscript": "file", "trust_remote_code": True}, "trust_remote_code does not go with torchscript"),
        ({"exported": "file", "subfolder": "a"}, "subfolder does not go with exported"),
        ({"exported": "file", "adapter": "folder"}, "an adapter cannot be merged into a file of exported"),
        ({"torchscript": "missing.pt"}, "no such file: "),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(tmp_path, given, said):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValidationError, match=said):
        ModelSpec.model_validate(given, context={"base": tmp_path})


def recipe(task: str, model: dict) -> dict:
    return {
        "schema_version": 1,
        "name": "small",
        "task": task,
        "model": model,
        "evaluation": {"factory": "tests.model_files:samples"},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    }


@pytest.mark.parametrize(
    "model",
    [{"torchscript": "state"}, {"exported": "state"}, {"factory": FACTORY, "weights": "state"}],
    ids=lambda model: [*model][-1],
)
def test_a_dry_run_looks_at_the_kind_of_the_file(every_kind, model):
    given = {key: str(every_kind.get(value, value)) for key, value in model.items()}
    with pytest.raises(RecipeError, match=r"model: .*is a pickle"):
        plan.check(recipe("tensor", given), None)


@pytest.mark.parametrize("key", ["torchscript", "exported", "weights"])
def test_a_task_that_reads_a_folder_says_so_at_the_plan(every_kind, key):
    model = {key: str(every_kind[key])} | ({"factory": FACTORY} if key == "weights" else {})
    said = f"task 'text-classification' needs a folder in hub format.*`{key}` is for the task 'tensor'"
    with pytest.raises(RecipeError, match=said):
        plan.check(recipe("text-classification", model), None)
