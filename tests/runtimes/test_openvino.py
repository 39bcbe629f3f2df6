"""OpenVINO is fed and answered by name, from one caller or several, in the type asked for, and sends no telemetry."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import openvino as runtime_module
from quantbento.runtimes.openvino import MODEL, OpenVinoRuntime, engine, read_onnx, save
from tests.jobs import job_of, numbers, onnx_file, run_elsewhere


@pytest.fixture
def own_graph(tmp_path):
    return onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["a", "w"], ["product"]), ("Sub", ["product", "b"], ["difference"]), ("Identity", ["b"], ["same"])],
        {"a": ["batch", 8], "b": ["batch", 4]},
        {"difference": ["batch", 4], "product": ["batch", 4], "same": ["batch", 4]},
        {"w": numbers(8, 4)},
    )


@pytest.fixture
def folder(own_graph, tmp_path):
    save(read_onnx(own_graph), tmp_path)
    return tmp_path


@pytest.fixture
def core(monkeypatch):
    """What OpenVINO says of the CPU (`capabilities`), and what it was asked to compile with (`properties`)."""
    real = engine()

    class Core:
        capabilities: list[str] = []
        properties: dict = {}

        def get_property(self, device, name):
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return self.capabilities

        def read_model(self, path):
            return real.Core().read_model(path)

        def compile_model(self, path, device, properties):
            type(self).properties = properties
            return real.Core().compile_model(path, device, properties)

    class Engine:
        def __getattr__(self, name):
            return Core if name == "Core" else getattr(real, name)

    monkeypatch.setattr(runtime_module, "engine", Engine)
    return Core


def test_inputs_and_outputs_go_by_name_at_any_batch(folder):
    runtime = OpenVinoRuntime.load(folder, {}, threads=1)
    for batch in (3, 1, 20, 3):
        b, a = numbers(batch, 4, seed=1), numbers(batch, 8, seed=2)
        found = runtime.run({"b": b, "a": a})
        assert list(found) == ["difference", "product", "same"]
        np.testing.assert_allclose(found["product"], a @ numbers(8, 4), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["difference"], a @ numbers(8, 4) - b, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["same"], b)


def test_an_answer_stays_as_it_is_when_more_is_asked(folder):
    """A request's output is written over by its next call, and so are inputs that it shares."""
    runtime = OpenVinoRuntime.load(folder, {}, threads=1)
    a, b = numbers(2, 8), numbers(2, 4)
    first = runtime.run({"a": a, "b": b})
    kept = {name: value.copy() for name, value in first.items()}
    runtime.run({"a": a * 2, "b": b * 3})
    b += 1
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)


@pytest.mark.parametrize("callers", [1, 4])
def test_callers_at_once_get_their_own_answers(folder, callers):
    """Also where more call than it was loaded for."""
    runtime = OpenVinoRuntime.load_shared(folder, {}, threads=1, callers=callers)
    batches = [{"a": numbers(i % 5 + 1, 8, seed=i), "b": numbers(i % 5 + 1, 4, seed=i)} for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, batches))
    for batch, answer in zip(batches, found, strict=True):
        np.testing.assert_allclose(answer["product"], batch["a"] @ numbers(8, 4), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(answer["same"], batch["b"])
    assert OpenVinoRuntime.concurrent
    assert len(runtime._idle) <= 4


@pytest.mark.parametrize(("threads", "callers"), [(1, 1), (3, 1), (1, 2)])
def test_it_takes_the_threads_it_is_given(folder, core, threads, callers):
    """OpenVINO cuts them to the cores that there are."""
    OpenVinoRuntime.load_shared(folder, {}, threads=threads, callers=callers)
    assert core.properties["NUM_STREAMS"] == callers
    assert core.properties["INFERENCE_NUM_THREADS"] == threads * callers
    assert core.properties["ENABLE_CPU_PINNING"] is False


@pytest.mark.parametrize("config", [{}, {"dtype": "float32"}], ids=["default", "named"])
def test_floats_are_computed_in_float32(folder, config):
    """Left to itself, OpenVINO takes bfloat16 wherever the CPU has it."""
    compiled = OpenVinoRuntime.load(folder, config, threads=1).compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_an_artifact_may_name_more_properties(folder):
    config = {"properties": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 64}}
    compiled = OpenVinoRuntime.load(folder, config, threads=1).compiled
    assert compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == 64


def test_full_precision_is_the_users_graph(own_graph, tmp_path):
    copy = tmp_path / "reference"
    copy.mkdir()
    job = job_of(own_graph, [{"a": numbers(8), "b": numbers(4)}], tmp_path)
    config = OpenVinoRuntime.write_reference(job, copy, "float32")
    found = OpenVinoRuntime.load(copy, config, threads=1).run({"a": numbers(2, 8), "b": numbers(2, 4)})
    np.testing.assert_allclose(found["product"], numbers(2, 8) @ numbers(8, 4), rtol=1e-5, atol=1e-6)
    held = [node for node in engine().Core().read_model(copy / MODEL).get_ops() if node.get_type_name() == "Constant"]
    assert {node.get_element_type().get_type_name() for node in held} == {"f32"}


def test_there_is_a_bfloat16_reference_only_where_the_cpu_has_it(own_graph, tmp_path, core):
    job = job_of(own_graph, [{"a": numbers(8), "b": numbers(4)}], tmp_path)
    assert OpenVinoRuntime.reference_dtypes["cpu"] == ("bfloat16",)
    core.capabilities = ["FP32", "INT8"]
    assert OpenVinoRuntime.write_reference(job, tmp_path, "bfloat16") is None
    assert not (tmp_path / MODEL).exists()
    core.capabilities = ["FP32", "INT8", "BF16"]
    config = OpenVinoRuntime.write_reference(job, tmp_path, "bfloat16")
    OpenVinoRuntime.load(tmp_path, config, threads=1)
    assert core.properties["INFERENCE_PRECISION_HINT"] == "bf16"


def test_an_operator_that_is_not_known_is_said_with_the_way_out(own_graph, tmp_path):
    model = onnx.load(own_graph)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Unheard", "of.somebody"
    model.opset_import.append(onnx.helper.make_opsetid("of.somebody", 1))
    onnx.save(model, tmp_path / "unheard.onnx")
    said = (
        r"^OpenVINO \d[\d.]+ cannot read the ONNX graph: No conversion rule found for operations: of\.somebody\.Unheard"
        "; use a quantizer for another runtime, such as onnx-dynamic$"
    )
    with pytest.raises(QuantbentoError, match=said):
        read_onnx(tmp_path / "unheard.onnx")


@pytest.mark.parametrize("content", [None, "<net>"], ids=["missing", "damaged"])
def test_a_graph_that_cannot_be_loaded_is_said(folder, content):
    (folder / MODEL).unlink()
    if content:
        (folder / MODEL).write_text(content)
    with pytest.raises(QuantbentoError, match=r"^OpenVINO \d[\d.]+ cannot load the graph: .*model\.xml"):
        OpenVinoRuntime.load(folder, {}, threads=1)


def test_loading_imports_no_telemetry(folder):
    """It is installed with OpenVINO, and would tell its vendor of each import."""
    code = (
        "import sys; from pathlib import Path; from quantbento.runtimes.openvino import OpenVinoRuntime\n"
        "OpenVinoRuntime.load(Path(sys.argv[1]), {}, threads=1)\n"
        "print([n for n, m in sys.modules.items() if n.split('.')[0] == 'openvino_telemetry' and m is not None])"
    )
    assert run_elsewhere(code, folder, str(folder)).strip() == "[]"


def test_threads_that_start_together_do_not_wait_for_each_other(tmp_path):
    """On the first use of a dtype, in a process of its own."""
    code = (
        "import sys, threading\n"
        "from quantbento.runtimes.openvino import engine\n"
        "dtypes, together = engine().Type.i64, threading.Barrier(4)\n"
        "sys.setswitchinterval(1e-6)\n"
        "threads = [threading.Thread(target=lambda: together.wait() and None or dtypes.to_dtype()) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
