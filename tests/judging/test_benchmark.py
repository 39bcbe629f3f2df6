"""A slower predictor is measured as slower, by the right factor, and memory is measured in a process of its own."""

import itertools
import re
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.judging.benchmark import Footprint, Timing, footprint, measure, speedup
from quantbento.recipe import Benchmark
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import MODEL
from quantbento.runtimes.predictor import Predictor
from tests.jobs import job_of, numbers, onnx_file

FEW = Benchmark(items=4, rounds=3, latency_calls=10)


def write_artifact(folder, width, runtime="onnx", custom_objects=None):
    """A model with one matrix product of `width` by `width`."""
    folder.mkdir()
    shapes = [{name: ["batch", width]} for name in ("x", "y")]
    path = onnx_file(folder / MODEL, [("MatMul", ["x", "w"], ["y"])], *shapes, {"w": numbers(width, width)})
    task = job_of(path, [numbers(width)], folder).task
    artifact.write(folder, task, registry.runtime(runtime), {}, custom_objects or {})
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("small") / "artifact", 8)


def peak_of(folder, inputs):
    return footprint(artifact.load(folder, threads=1), folder, inputs, threads=1).peak_memory_bytes


def slowed(folder, seconds, calls=None):
    """The predictor in a folder, with a pause before each input."""
    loaded = artifact.load(folder, threads=1)

    def preprocess(item):
        if calls is not None:
            calls.append(item)
        time.sleep(seconds)
        return item

    return Predictor(loaded.task, loaded.runtime, {"preprocess": preprocess})


def test_a_slower_predictor_is_seen(small):
    timings = measure({"slow": slowed(small, 0.02), "slower": slowed(small, 0.06)}, [numbers(8)], FEW)
    found = speedup(timings["slow"], timings["slower"])
    assert 0.25 < found.median < 0.5  # a third as fast
    assert found.p10 <= found.median <= found.p90
    assert speedup(timings["slower"], timings["slow"]).median > 2
    assert timings["slow"].latency_ms["p50"] >= 20
    assert timings["slower"].latency_ms["p50"] >= 60
    assert timings["slow"].throughput <= 4 / (4 * 0.02)


def test_rounds_are_paired_and_inputs_repeated(small):
    calls, rounds = [], []
    inputs = [numbers(8, seed=i) for i in range(3)]
    timings = measure({"only": slowed(small, 0, calls)}, inputs, FEW, lambda *done: rounds.append(done))
    assert rounds == [(1, 3), (2, 3), (3, 3)]
    assert len(timings["only"].seconds) == 3
    warm_up, singles = 4, 3 * 4  # ten calls in three rounds are four each
    assert len(calls) == warm_up + 3 * 4 + singles
    assert [any(c is i for i in inputs) for c in calls] == [True] * len(calls)
    assert calls[3] is inputs[0]


def test_speedup_is_the_median_of_paired_ratios():
    reference, contender = Timing({}, 0, [1.0, 10.0, 4.0]), Timing({}, 0, [0.5, 10.0, 1.0])
    found = asdict(speedup(reference, contender))
    assert found["median"] == 2
    assert found == pytest.approx({"median": 2, "p10": 1.2, "p90": 3.6})


def test_latency_percentiles_are_in_order(small):
    latency = measure({"only": artifact.load(small, threads=1)}, [numbers(8)], FEW)["only"].latency_ms
    assert list(latency) == ["p50", "p90", "p99"]
    assert all(a <= b for a, b in itertools.pairwise(latency.values()))


def test_peak_memory_is_that_of_the_model_not_of_this_process(small, tmp_path):
    ballast = np.ones(400_000_000, dtype=np.uint8)
    assert ballast.sum() and _own_peak() > 400e6
    del ballast
    big = write_artifact(tmp_path / "big", 4096)  # 67 MB of weights
    peaks = [peak_of(folder, [numbers(width)]) for folder, width in ((small, 8), (big, 4096))]
    assert 10e6 < peaks[0] < 300e6
    assert peaks[1] > peaks[0] + 60e6


def _own_peak():
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text()).group(1))


def test_inputs_reach_the_process_as_they_are(tmp_path):
    folder = write_artifact(tmp_path / "artifact", 8)
    assert peak_of(folder, [{"x": numbers(8)}, {"x": (1.0,) * 8}]) > 0
    with pytest.raises(QuantbentoError, match=r"item 0: x must have shape \(8,\)"):
        peak_of(folder, [numbers(7)])


def damage_model(folder):
    (folder / MODEL).write_bytes(b"not a graph")


def damage_description(folder):
    (folder / artifact.DESCRIPTION).unlink()


def damage_custom_objects(folder):
    (folder / artifact.CUSTOM_OBJECTS).write_bytes(b"cproject_that_is_not_here\nfunction\n.")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (damage_model, "Protobuf parsing failed"),
        (damage_description, r"artifact\.json"),
        (damage_custom_objects, "project_that_is_not_here"),
    ],
    ids=["model", "description", "custom-objects"],
)
def test_an_artifact_that_does_not_load_fails_in_a_line(tmp_path, damage, named):
    folder = write_artifact(tmp_path / "artifact", 8)
    loaded = artifact.load(folder, threads=1)
    damage(folder)
    with pytest.raises(QuantbentoError, match=rf"^the artifact does not load in a process of its own: .*{named}.*$"):
        footprint(loaded, folder, [numbers(8)], threads=1)


def test_an_engine_with_a_process_of_its_own_is_asked_for_its_peak(small, tmp_path):
    loaded = artifact.load(small, threads=1)
    loaded.runtime.peak_memory_bytes = lambda: 123
    assert footprint(loaded, tmp_path / "nothing-is-loaded", [], threads=1) == Footprint(None, 123)


def test_the_first_call_of_a_shape_is_not_timed_where_it_takes_longer(small, monkeypatch):
    """Here such a call takes 50 ms longer."""
    slow, seen = slowed(small, 0), set()
    work = slow.work

    def once_slow(inputs):
        key = (len(inputs), inputs[0].tobytes())
        time.sleep(0.05 * (key not in seen))
        seen.add(key)
        return work(inputs)

    slow.work = once_slow
    inputs = list(numbers(10, 8))
    assert measure({"slow": slow}, inputs, FEW)["slow"].latency_ms["p50"] > 40
    seen.clear()
    monkeypatch.setattr(type(slow.runtime), "compiles_shapes", True)
    assert measure({"slow": slow}, inputs, FEW)["slow"].latency_ms["p90"] < 40
