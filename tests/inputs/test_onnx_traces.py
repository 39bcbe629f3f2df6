"""An ONNX file says nothing about the machine that exported it, and still computes the same bits."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from quantbento.inputs.onnx_export import quiet
from quantbento.inputs.onnx_traces import strip_file, strip_traces
from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from tests.conftest import ROOT
from tests.jobs import job_of, numbers, quantized

NOTE = f"{ROOT}/secret.py"
FLOAT = TensorProto.FLOAT


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 4))

    def forward(self, x):
        return self.layers(x).softmax(-1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The file as torch's exporter writes it."""
    path = tmp_path_factory.mktemp("exported") / MODEL
    torch.manual_seed(0)
    names = {"input_names": ["x"], "output_names": ["y"]}
    with quiet():
        program = torch.onnx.export(
            Network().eval(),
            (torch.randn(3, 8),),
            dynamo=True,
            opset_version=20,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            verbose=False,
            **names,
        )
        program.save(str(path))
    return path


@pytest.fixture
def stripped(exported, tmp_path):
    path = tmp_path / "stripped" / MODEL
    path.parent.mkdir()
    shutil.copyfile(exported, path)
    strip_file(path)
    return path


def run(path, x):
    return OnnxRuntime.load(path.parent, {}, threads=1).run({"x": x})["y"]


def test_an_exporter_s_traces_go(exported, stripped):
    before, after = exported.read_bytes(), stripped.read_bytes()
    assert b"stack_trace" in before
    assert str(ROOT).encode() in before
    for trace in (str(ROOT), "stack_trace", "site-packages", "forward", "Network", "pkg.torch"):
        assert trace.encode() not in after
    assert len(after) < len(before)


@pytest.mark.parametrize("batch", [1, 3, 33])
def test_a_stripped_graph_computes_the_same_bits(exported, stripped, batch):
    x = numbers(batch, 8)
    assert run(exported, x).tobytes() == run(stripped, x).tobytes()


@pytest.mark.parametrize("activations", ["per_token", "per_tensor"])
def test_a_variant_of_a_user_s_own_graph_has_none_and_computes_the_same_bits(exported, stripped, tmp_path, activations):
    x = [numbers(8, seed=seed) for seed in range(5)]
    answers = []
    for source in (exported, stripped):
        folder = tmp_path / source.parent.name / "variant"
        _, predictor = quantized(job_of(source, x, tmp_path), "onnx-dynamic", folder, activations=activations)
        answers.append(predictor.rows(x)["y"].tobytes())
        assert str(ROOT).encode() not in (folder / MODEL).read_bytes()
    assert answers[0] == answers[1]


def test_notes_go_wherever_they_are(tmp_path):
    model = annotated()
    assert model.SerializeToString().count(NOTE.encode()) > 20
    onnx.save(model, tmp_path / "before.onnx")
    strip_traces(model)
    assert NOTE.encode() not in model.SerializeToString()
    onnx.checker.check_model(model, full_check=True)
    session = onnx.reference.ReferenceEvaluator
    for x in (numbers(3), -np.abs(numbers(3))):
        before, after = session(str(tmp_path / "before.onnx")).run(None, {"x": x}), session(model).run(None, {"x": x})
        assert before[0].tobytes() == after[0].tobytes()


def test_the_model_s_own_description_and_metadata_stay():
    model = annotated()
    model.doc_string = "Tells cats from dogs"
    model.metadata_props.add(key="names", value="cat,dog")
    strip_traces(model)
    assert model.doc_string == "Tells cats from dogs"
    assert [(p.key, p.value) for p in model.metadata_props] == [("names", "cat,dog")]


def test_weights_in_a_file_beside_are_left_alone(exported, tmp_path):
    path = tmp_path / MODEL
    onnx.save(onnx.load(exported), path, save_as_external_data=True, location="weights", size_threshold=0)
    before, x = (tmp_path / "weights").stat(), numbers(2, 8)
    strip_file(path)
    after = (tmp_path / "weights").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert b"stack_trace" not in path.read_bytes()
    assert run(path, x).tobytes() == run(exported, x).tobytes()


def annotated() -> onnx.ModelProto:
    """y = twice(x) + 1 where the sum of x is positive, twice(x) - 1 otherwise. Every message that can hold a note has
    one, except the model itself."""
    one = numpy_helper.from_array(np.asarray(1, np.float32), "one")
    x, y = (helper.make_tensor_value_info(name, FLOAT, [3]) for name in "xy")
    branches = {
        f"{kind}_branch": helper.make_graph(
            [helper.make_node(operator, ["doubled", "one"], [f"{kind}_y"])],
            kind,
            [],
            [helper.make_tensor_value_info(f"{kind}_y", FLOAT, [3])],
        )
        for kind, operator in (("then", "Add"), ("else", "Sub"))
    }
    twice = helper.make_function(
        "local", "twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    nodes = [
        helper.make_node("twice", ["x"], ["doubled"], domain="local"),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], **branches),
    ]
    zero = numpy_helper.from_array(np.asarray(0, np.float32), "zero")
    inside = [helper.make_tensor_value_info("doubled", FLOAT, [3])]
    graph = helper.make_graph(nodes, "graph", [x], [y], [one, zero], value_info=inside)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[twice], ir_version=10)
    annotate(model.graph)
    annotate(model.functions[0])
    return model


def annotate(message) -> None:
    names = message.DESCRIPTOR.fields_by_name
    if "doc_string" in names:
        message.doc_string = NOTE
    if "metadata_props" in names:
        message.metadata_props.add(key="trace", value=NOTE)
    for field, value in message.ListFields():
        if field.message_type is not None and field.name != "metadata_props":
            for part in [value] if hasattr(value, "ListFields") else value:
                annotate(part)
