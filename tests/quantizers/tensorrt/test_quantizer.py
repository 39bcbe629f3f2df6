"""What the worker gets, what is made of its result, and what a recipe is told where there is no GPU."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from pydantic import ValidationError

from quantbento import cli
from quantbento.core import machine
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.tensorrt import quantizer as quantizer_module
from quantbento.quantizers.tensorrt.graph import Layer
from quantbento.quantizers.tensorrt.quantizer import TensorRt, TensorRtOptions, count
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import MODEL
from quantbento.runtimes.tensorrt import TensorRtRuntime
from tests import fake_tensorrt
from tests.jobs import job_of, numbers, onnx_file, quantized


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """In place of the isolated worker: keeps the job and its files, and puts the first product's weights in INT8."""

    class Worker:
        job: dict
        folder = tmp_path / "kept"
        products = 1

        def __call__(self, python, script, job, on_progress):
            assert Path(script).name == "tensorrt_worker.py"
            on_progress("calibrate and quantize", 1, 2)
            self.job = json.loads(json.dumps(job))
            shutil.copytree(Path(job["graph"]).parents[1], self.folder, dirs_exist_ok=True)
            model = onnx.load(job["graph"])
            for node in [n for n in model.graph.node if n.op_type in ("MatMul", "Conv")][: self.products]:
                quantize(model.graph, node)
            onnx.save(model, job["output"])
            return {}

    made = Worker()
    monkeypatch.setattr(quantizer_module.isolated, "environment", lambda requirements, say: Path("python"))
    monkeypatch.setattr(quantizer_module.isolated, "run", made)
    return made


def quantize(graph, node):
    """Puts a node's weights behind QuantizeLinear and DequantizeLinear."""
    weight = node.input[1]
    graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [0.01]))
    graph.initializer.append(helper.make_tensor("zero", TensorProto.INT8, [], [0]))
    graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]))
    graph.node.insert(0, helper.make_node("QuantizeLinear", [weight, "scale", "zero"], ["q"]))
    node.input[1] = "dq"


def test_the_worker_gets_the_graph_and_the_batches_the_largest_first(network, worker, tmp_path):
    network.calibration = network.calibration[::-1]  # of 6 and of 64
    done = TensorRt().quantize(network, TensorRtOptions(calibration_method="max", exclude_nodes=["*conv*"]), tmp_path)
    given = [dict(np.load(path)) for path in sorted((worker.folder / "calibration").iterdir())]
    assert [batch.keys() for batch in given] == [{"input"}] * 2
    assert [len(batch["input"]) for batch in given] == [64, 6]
    np.testing.assert_array_equal(np.concatenate([b["input"] for b in given]), network.samples.inputs)
    assert {k: worker.job[k] for k in ("precision", "method")} == {"precision": "int8", "method": "max"}
    names = [node.name for node in onnx.load(worker.folder / "given" / MODEL).graph.node]
    assert worker.job["exclude"] == sorted(name for name in names if "conv" in name) != []
    assert done.runtime_config == {"profile": {"input": [[1, 1, 8, 8], [64, 1, 8, 8], [64, 1, 8, 8]]}}
    assert (done.counts, done.quantized_parameters) == ({"Conv": 1}, 144)
    assert len(done.left_out) == 3
    assert done.parameters == sum(p.numel() for p in network.source.module.parameters())


def test_the_artifact_is_the_file_that_was_made_for_gpus_only(network, worker, tmp_path, monkeypatch):
    fake_tensorrt.install(monkeypatch, tmp_path / "cache")
    _, model = quantized(network, "tensorrt", tmp_path / "a")
    assert model.runtime.name == "tensorrt"
    assert artifact.describe(tmp_path / "a")["devices"] == ["cuda"]
    assert {n.op_type for n in onnx.load(tmp_path / "a" / MODEL).graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    model.runtime.device = "cpu"  # where the stand-in finds tensors
    batch = network.calibration[1]
    full = tmp_path / "full"
    full.mkdir()
    network.complete(full, TensorRtRuntime, TensorRtRuntime.write_reference(network, full, "float32"))
    reference = artifact.load(full)
    reference.runtime.device = "cpu"
    [name] = network.task.output_names
    np.testing.assert_allclose(model.runtime.run(batch)[name], reference.runtime.run(batch)[name], atol=0.3)


def test_float16_needs_no_samples_and_uses_them(network, worker, tmp_path):
    assert TensorRt().needs(TensorRtOptions(precision="fp16")) is None
    assert [TensorRt().needs(TensorRtOptions(precision=p)) for p in ("int8", "fp8")] == ["calibration"] * 2
    assert TensorRt.reads("calibration")
    for batches, folder in ((network.calibration, True), (None, False)):
        network.calibration = batches
        told = r"put no weights into fp16 .*have values too large for it"  # the stand-in writes INT8
        with pytest.raises(QuantbentoError, match=told):
            TensorRt().quantize(network, TensorRtOptions(precision="fp16"), tmp_path)
        assert (worker.job["calibration"] is not None) is folder


def test_each_precision_has_its_scheme():
    schemes = {p: TensorRt().scheme_of(TensorRtOptions(precision=p)) for p in ("int8", "fp8", "fp16")}
    assert schemes == {"int8": "int8-static", "fp8": "fp8-static", "fp16": "fp16"}


def test_a_graph_in_which_nothing_was_quantized_is_an_error_and_not_stored(network, worker, tmp_path):
    worker.products = 0
    (tmp_path / "a").mkdir()
    told = r"^tensorrt would quantize nothing: .* no weights into int8 \(the graph has .*2 Conv.*too small"
    with pytest.raises(QuantbentoError, match=told):
        TensorRt().quantize(network, TensorRtOptions(), tmp_path / "a")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_pattern_that_matches_no_node_is_an_error(network, tmp_path):
    with pytest.raises(QuantbentoError, match=r"the pattern 'nothing\*' matches no node"):
        TensorRt().quantize(network, TensorRtOptions(exclude_nodes=["nothing*"]), tmp_path)


def test_a_quantized_graph_is_refused(tmp_path):
    nodes = [("QuantizeLinear", ["x", "s"], ["q"]), ("DequantizeLinear", ["q", "s"], ["y"])]
    scale = {"s": np.array(0.1, np.float32)}
    path = onnx_file(tmp_path / "m.onnx", nodes, {"x": ["batch", 3]}, {"y": ["batch", 3]}, scale)
    with pytest.raises(QuantbentoError, match="the graph is quantized already"):
        TensorRt().quantize(job_of(path, [numbers(3)], tmp_path), TensorRtOptions(), tmp_path)


def test_a_calibration_method_is_for_8_bits():
    with pytest.raises(ValidationError, match="calibration_method goes with precision: int8 or fp8"):
        TensorRtOptions(precision="fp16", calibration_method="max")


def test_weights_that_layers_share_are_not_more_than_there_are():
    found = [Layer("a", "MatMul", "w", 60, True), Layer("b", "MatMul", "w_copy", 60, True)]
    assert count([*found, Layer("c", "Conv", "v", 9, False)], {}, 80, ["note"]).quantized_parameters == 80
    assert count(found[:1] * 2, {}, 80, []).quantized_parameters == 60


@pytest.mark.parametrize(("here", "refused"), [({"cpu"}, True), ({"cpu", "cuda"}, False)], ids=["cpu", "gpu"])
def test_a_recipe_is_refused_where_there_is_no_gpu(tmp_path, monkeypatch, capsys, bento_home, here, refused):
    fake_tensorrt.install(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(machine, "devices", lambda: here)
    samples = {"factory": "tests.tiny_tensor:samples"}
    recipe = {
        "schema_version": 1,
        "name": "tiny",
        "task": "tensor",
        "model": {"factory": "tests.tiny_tensor:model"},
        "evaluation": samples,
        "calibration": samples,
        "variants": [{"name": "int8", "quantizer": "tensorrt"}],
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["save", str(tmp_path / "tiny.yaml"), "--dry-run"]) == (2 if refused else 0)
    said = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    wanted = "- line 11: variants[0].quantizer: tensorrt needs a device of the kind 'cuda'; this machine has 'cpu'"
    assert [line for line in said if "cuda" in line] == ([wanted] if refused else [])
