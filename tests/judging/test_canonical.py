"""A canonical graph that computes something else is not used, and the report says so."""

import re
from dataclasses import fields

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from quantbento.inputs import onnx_graph
from quantbento.judging.canonical import SAMPLES, difference, prove
from tests.jobs import job_of, numbers, onnx_file


@pytest.fixture
def job(tmp_path):
    path = onnx_file(
        tmp_path / "own.onnx",
        [("Identity", ["x"], ["same"]), ("MatMul", ["same", "w"], ["y"])],
        {"x": ["batch", 8]},
        {"y": ["batch", 4]},
        {"w": numbers(8, 4, seed=1)},
    )
    return job_of(path, list(numbers(50, 8)), tmp_path)


def spoil(monkeypatch, change, steps=("canonical",)):
    """Lets these steps write a graph that was changed."""
    rewrite = onnx_graph._rewrite

    def spoilt(source, step, path):
        done = rewrite(source, step, path)
        if step in steps:
            model = onnx.load(path)
            change(model.graph)
            onnx.save(model, path)
        return done

    monkeypatch.setattr(onnx_graph, "_rewrite", spoilt)


def other_weights(graph):
    graph.initializer[0].CopyFrom(numpy_helper.from_array(numbers(8, 4, seed=2), graph.initializer[0].name))


def test_the_same_answers_are_a_proof(job):
    graph = prove(job, job.samples, 1)
    assert graph.step == "canonical"
    assert graph.notes == [
        f"started from the graph in canonical form (opset 20 to 20, 2 operators to 1); it answers {SAMPLES} samples "
        "the same"
    ]
    assert job.canonical_onnx() is graph is prove(job, job.samples, 1)
    assert job.onnx() == job.source.onnx
    assert sorted(p.name for p in job.workspace.iterdir()) == ["onnx-canonical", "own.onnx"]


def test_other_answers_are_refused_and_less_is_done(job, monkeypatch):
    spoil(monkeypatch, other_weights)
    graph = prove(job, job.samples, 1)
    assert graph.step == "constants"
    refused, used = graph.notes
    assert refused.startswith("the graph in canonical form is not used: its answers are ")
    assert refused.endswith(" dB from the original's, and 90 are needed")
    assert used.startswith("started from the graph with its constants as weights (")


def test_the_last_step_is_the_users_own_file(job, monkeypatch):
    spoil(monkeypatch, other_weights, ("canonical", "constants"))
    graph = prove(job, job.samples, 1)
    assert (graph.step, graph.path) == ("untouched", job.source.onnx)
    assert [note.split(" is not used")[0] for note in graph.notes] == [
        "the graph in canonical form",
        "the graph with its constants as weights",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda g: setattr(g.node[0], "op_type", "Unheard"), "ONNX Runtime .* cannot load the graph: .*Unheard"),
        (
            lambda g: g.node.insert(0, helper.make_node("Neg", ["x"], ["nothing"])) or g.input.pop(),
            "ONNX Runtime .* cannot load the graph: Invalid",
        ),
        (lambda g: setattr(g.node[0], "op_type", "Max") or g.node[0].input.pop(), "its outputs are .*8.*, not .*4"),
    ],
    ids=["no-such-operator", "invalid", "another-shape"],
)
def test_a_graph_that_does_not_run_is_refused(job, monkeypatch, change, reason):
    spoil(monkeypatch, change)
    graph = prove(job, job.samples, 1)
    assert graph.step == "constants"
    assert onnx.load(graph.path).graph.node[1].op_type == "MatMul"
    assert re.search(f"the graph in canonical form is not used: {reason}", graph.notes[0])


def test_the_job_holds_no_samples(job):
    prove(job, job.samples, 1)
    held = {f.name: getattr(job, f.name) for f in fields(job) if f.name != "samples"}
    assert held["calibration"] is held["training"] is None
    assert not [name for name, value in held.items() if value is job.samples or value is job.samples.inputs]


NEAR = numbers(6, 5) * 1e-3  # 60 dB from 1


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"y": numbers(6, 5, seed=3)}, None),
        ({"y": numbers(6, 5, seed=3) * (1 + 1e-6)}, None),
        ({"y": numbers(6, 5, seed=3) + NEAR}, None),
        ({"y": numbers(6, 5, seed=3)[:, ::-1] + 0}, "dB from the original's"),
        ({"y": numbers(6, 4, seed=3)}, r"its outputs are {'y': \[\(4,\)\]}, not {'y': \[\(5,\)\]}"),
        ({"z": numbers(6, 5, seed=3)}, "its outputs are {'z'"),
    ],
    ids=["equal", "rounding", "near-with-the-same-choices", "other", "another-shape", "another-name"],
)
def test_answers_are_equal_within_rounding_or_choose_the_same(found, reason):
    told = difference({"y": numbers(6, 5, seed=3)}, found)
    assert told is None if reason is None else re.search(reason, told)


def test_one_number_per_row_chooses_nothing():
    """Its highest score is always at the same place."""
    own = numbers(6, 1, seed=3)
    assert "60 dB" in difference({"y": own}, {"y": own * 1.001})
    assert difference({"y": own}, {"y": own * (1 + 1e-6)}) is None


def test_integers_are_right_or_wrong():
    own = np.arange(100).reshape(10, 10)
    other = own.copy()
    other[3, 3] = 0
    assert difference({"y": own}, {"y": own.copy()}) is None
    assert difference({"y": own}, {"y": other}) == "99.00% of its integers and booleans are the original's"
