"""`layers` and `keeping` of every quantizer of arrays: what sensitivity and mixed precision stand on."""

from __future__ import annotations

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from tests.jobs import job_of
from tests.making.sensitivity.bad_layer import LAYERS, WIDTH, model, samples

ENGINES = {
    "torch-dynamic": {},
    "torchao": {},
    "torch-static": {},
    "torch-export": {"compile": False},
    "onnx-dynamic": {},
    "onnx-static": {},
    "onnx-weights": {},
    "openvino-weights": {},
}


@pytest.mark.parametrize(("quantizer", "options"), ENGINES.items(), ids=list(ENGINES))
def test_what_is_kept_is_not_quantized(quantizer, options, tmp_path):
    job = job_of(model(), samples(), tmp_path)
    job.calibration = job.task.calibrate(job.task.check_all(samples(), None), None)
    method = registry.quantizer(quantizer)()
    given = method.Options(**options)
    found = method.layers(job, given)
    assert list(found.values()) == [WIDTH * WIDTH] * LAYERS + [WIDTH * 8]
    last = list(found)[-1]
    kept = method.keeping(given, [name for name in found if name != last])
    assert method.layers(job, kept) == {last: WIDTH * 8}
    folder = tmp_path / "one"
    folder.mkdir()
    done = method.quantize(job, kept, folder)
    assert done.quantized_parameters == WIDTH * 8
    assert done.left_out == []


def test_a_quantizer_without_layers_refuses_to_keep_some():
    method = registry.quantizer("torchscript")()
    with pytest.raises(QuantbentoError, match="torchscript cannot keep single layers"):
        method.keeping(method.Options(), ["a"])
