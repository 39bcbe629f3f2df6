"""Model Optimizer itself, on the CPU, and what ONNX Runtime makes of its files. TensorRT takes no part in it."""

import os
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.tensorrt.quantizer import REQUIREMENTS, WORKER, TensorRt, TensorRtOptions
from quantbento.runtimes.onnx import MODEL
from quantbento.runtimes.tensorrt import TensorRtRuntime
from quantbento.tasks.metrics import sqnr_db
from tests.conftest import ROOT, labelled_texts
from tests.jobs import text_job
from tests.quantizers.tensorrt.conftest import calibrated

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """Kept in the repository's cache, or where QUANTBENTO_CACHE says."""
    if "QUANTBENTO_CACHE" not in os.environ:
        monkeypatch.setenv("QUANTBENTO_CACHE", str(ROOT / ".cache"))
    try:
        isolated.environment(REQUIREMENTS, print)
    except QuantbentoError as error:
        pytest.skip(f"no package index: {error}")


def made(job, folder, **options):
    """What is said to be done, the operators of the file, and its SQNR in dB against full precision, both in ONNX
    Runtime on the CPU."""
    folder.mkdir()
    done = TensorRt().quantize(job, TensorRtOptions(**options), folder)
    job.complete(folder, TensorRtRuntime, done.runtime_config)
    model = onnx.load(folder / MODEL)
    counts = Counter(node.op_type for node in model.graph.node)
    assert {i.type.tensor_type.elem_type for i in (*model.graph.input, *model.graph.output)} <= {
        TensorProto.FLOAT,
        TensorProto.INT64,
    }
    if options.get("precision") == "fp8":  # ONNX Runtime does not compute it on CPUs
        return done, counts, None
    expected, found = (
        np.concatenate([session.run(None, batch)[0].ravel() for batch in job.calibration])
        for session in map(onnxruntime.InferenceSession, map(str, (job.onnx(), folder / MODEL)))
    )
    return done, counts, sqnr_db(expected, found)


def test_int8_has_scales_around_convolutions_and_products(network, tmp_path):
    done, counts, near = made(network, tmp_path / "a")
    assert done.counts == {"Conv": 2, "MatMul": 1}
    assert done.quantized_parameters == 16 * 9 + 32 * 16 * 9 + 512 * 64
    assert len(done.left_out) == 1  # 10 columns are too few
    assert counts["QuantizeLinear"] == counts["DequantizeLinear"] == 6  # of three weights and three inputs
    assert 25 < near < 60
    excluded, counts, nearer = made(network, tmp_path / "b", exclude_nodes=["*conv*"], calibration_method="max")
    assert excluded.counts == {"MatMul": 1} and counts["QuantizeLinear"] == 2
    assert nearer > near


def test_fp8_has_its_own_zero_points(network, tmp_path):
    done, counts, _ = made(network, tmp_path / "a", precision="fp8")
    assert done.counts == {"MatMul": 1} and counts["QuantizeLinear"] == 2
    assert TensorProto.FLOAT8E4M3FN in {i.data_type for i in onnx.load(tmp_path / "a" / MODEL).graph.initializer}


def test_float16_has_no_scales_and_what_overflows_stays(network, tmp_path):
    done, counts, near = made(network, tmp_path / "a", precision="fp16")
    assert done.counts == {"Conv": 2, "MatMul": 2} and done.left_out == []
    assert counts["QuantizeLinear"] == 0 and near > 50
    size = (tmp_path / "a" / MODEL).stat().st_size
    assert size < 0.6 * network.onnx().stat().st_size
    network.source.module[0].weight.data *= 1e6  # what the first gives is more than float16 has numbers for
    network.source.module[2].weight.data /= 1e6
    network.graph = None
    network.onnx().unlink()
    done, _, near = made(network, tmp_path / "b", precision="fp16")
    assert done.left_out != [] != done.counts and near > 50


def test_texts_of_several_lengths(tiny_encoder, tmp_path):
    texts = ["good " * 4, "the film was good and lovely", *labelled_texts(40, seed=0)[0]]
    job = calibrated(text_job(tiny_encoder, "feature-extraction", texts, tmp_path))
    assert len({batch["input_ids"].shape for batch in job.calibration}) > 1
    done, _, near = made(job, tmp_path / "a")
    assert done.counts["MatMul"] >= 12 and near > 15


def test_what_cannot_be_converted_is_said_in_one_line(tmp_path):
    (tmp_path / MODEL).write_bytes(b"no graph")
    job = {"graph": str(tmp_path / MODEL), "precision": "fp16", "calibration": None, "method": "max", "exclude": []}
    job["output"] = str(tmp_path / "out.onnx")
    with pytest.raises(QuantbentoError) as error:
        isolated.run(isolated.environment(REQUIREMENTS, print), WORKER, job, lambda *at: None)
    told = str(error.value)
    assert told.startswith("tensorrt_worker: NotForTensorRt: Model Optimizer cannot convert the graph: ")
    assert "\n" not in told
