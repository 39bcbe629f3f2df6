"""Compares libraries that bring ONNX files into a form that can be quantized, and prints a table in Markdown:

    pip download --no-deps --dest wheels rapidocr-onnxruntime rapidocr magika silero-vad
    python -m benchmarks.canonical_graphs wheels

For each library: how many of the files it rewrites, how many of those ONNX Runtime then answers the same (90 dB, on
made-up inputs), and what is left in them. onnxslim takes part where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.onnx_files import batch_axis, made_up, onnx_files
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import missing_packages
from quantbento.inputs import onnx_graph
from quantbento.quantizers.onnx.candidates import find
from quantbento.quantizers.onnx.prepare import prepared
from quantbento.tasks.metrics import sqnr_db
from quantbento.tasks.tensor.graph import read

OPSET = onnx_graph.OPSET


def untouched(source: Path, target: Path) -> None:
    onnx.save(onnx.load(source), target)


def converter(source: Path, target: Path) -> None:
    """onnx's version converter, then its shape inference."""
    model = onnx.load(source)
    if opset(model) < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    onnx.save(onnx.shape_inference.infer_shapes(model), target)


def pre_process(source: Path, target: Path) -> None:
    """ONNX Runtime's preparation for its own quantizer."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)


def runtime(source: Path, target: Path) -> None:
    """The graph that ONNX Runtime makes when it loads a model, at its basic level."""
    options = quiet_options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def slim(source: Path, target: Path) -> None:
    import onnxslim

    onnxslim.slim(str(source), str(target))


def ours(source: Path, target: Path) -> None:
    """onnx's version converter and onnxscript's optimizer."""
    made = onnx_graph.canonical(source, target.parent / "canonical")
    if made.step != "canonical":
        raise QuantbentoError("; ".join(made.notes))
    onnx.save(onnx.load(made.path), target)


LIBRARIES: dict[str, Callable[[Path, Path], None]] = {
    "the file as it is": untouched,
    "onnx converter, shape inference": converter,
    "onnxruntime `quant_pre_process`": pre_process,
    "onnxruntime, basic level": runtime,
    "onnxslim": slim,
    "onnx converter, onnxscript optimizer (used)": ours,
}
COLUMNS = ("rewritten", "the same", "opset 18", "`Constant` left", "operators left", "MatMul and Gather to quantize")
HEADER = f"| library | {' | '.join(COLUMNS)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="+", type=Path, metavar="FOLDER_OR_WHEEL")
    places = parser.parse_args().places
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as space:
        files = list(onnx_files(places, Path(space)))
        print(f"{len(files)} files\n\n{HEADER}\n|{'---|' * (HEADER.count('|') - 1)}", flush=True)
        for name, rewrite in LIBRARIES.items():
            if name == "onnxslim" and missing_packages(["onnxslim"]):
                continue
            results = [result for file in files if (result := compared(rewrite, file, Path(space)))]
            same, raised, constants, nodes, found = map(sum, zip(*results or [(0,) * 5], strict=True))
            print(f"| {name} | {len(results)} | {same} | {raised} | {constants} | {nodes} | {found} |", flush=True)


def compared(rewrite: Callable[[Path, Path], None], source: Path, space: Path) -> tuple[int, int, int, int, int] | None:
    """Whether it is the same, has the opset, and its numbers of constants, operators and nodes to quantize; None where
    it could not be rewritten."""
    target = Path(tempfile.mkdtemp(dir=space)) / "model.onnx"
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            rewrite(source, target)
        model = onnx.load(target)
    except Exception as error:  # the libraries' errors share no base class
        logging.info("%s: %s", source.name, error)
        return None
    kinds = [node.op_type for node in model.graph.node]
    raised = opset(model) >= OPSET
    found = find(prepared(model).graph, ["MatMul", "Gather"]).names
    return int(same(source, target)), int(raised), kinds.count("Constant"), len(kinds), len(found)


def opset(model: onnx.ModelProto) -> int:
    return max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def quiet_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return options


def same(source: Path, target: Path) -> bool:
    try:
        batch = {name: values[:1] for name, values in made_up(source).items()}
        options, providers = quiet_options(), ["CPUExecutionProvider"]
        sessions = (ort.InferenceSession(str(path), options, providers=providers) for path in (source, target))
        first, second = (session.run(None, one(source, batch)) for session in sessions)
    except Exception:  # of ONNX Runtime's, or shapes that do not fit
        return False
    return all(sqnr_db(np.ravel(a), np.ravel(b)) >= 90 for a, b in zip(first, second, strict=True))


def one(path: Path, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first made-up sample as the graph takes it."""
    axes = {name: batch_axis(dims or []) for name, (_, dims) in read(path).inputs.items()}
    return {n: np.asarray(v[0]) if axes[n] is None else np.expand_dims(v[0], axes[n]) for n, v in batch.items()}


if __name__ == "__main__":
    main()
