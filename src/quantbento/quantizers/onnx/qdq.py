"""ONNX Runtime's static quantization of a graph's nodes, and what it did."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.cache import cache_folder
from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.machine import default_threads
from quantbento.inputs.onnx_export import quiet
from quantbento.quantizers.onnx.candidates import QUANTIZED
from quantbento.quantizers.onnx.loading import session
from quantbento.quantizers.sensitivity import answers
from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from quantbento.tasks.base import Arrays
from quantbento.tasks.metrics import sqnr_db

BINS = 1024  # of the histogram that an entropy is taken of; INT8 has 128 levels on each side
AROUND = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")  # compute nothing themselves


class StaticQuantization:
    """Quantizes nodes of one graph with ranges that are measured once, and kept for later runs.

    Args:
        path: the graph, named as the runtime wants it.
        ops: operator types whose inputs and outputs are measured.
        batches: calibration samples, by input name.
        settings: what else `onnxruntime.quantization.quantize_static` is told.
    """

    def __init__(self, path: Path, ops: Sequence[str], batches: list[Arrays], settings: dict[str, Any]) -> None:
        self.path, self.ops, self.batches, self.settings = path, list(ops), batches, settings
        self.ranges = cache_folder("calibration") / f"{self._key()}.json"
        self._expected: np.ndarray | None = None

    def write(self, nodes: list[str], target: Path) -> None:
        """Writes the graph with these nodes quantized.

        Raises:
            QuantbentoError: ONNX Runtime stops at the graph.
        """
        from onnxruntime.quantization import quantize_static

        try:
            with quiet():
                if not self.ranges.is_file():
                    self._measure()
                quantize_static(
                    self.path,
                    target,
                    None,
                    op_types_to_quantize=self.ops,
                    nodes_to_quantize=nodes,
                    calibration_cache_path=self.ranges,
                    **self.settings,
                )
        except Exception as error:  # its errors share no base class
            raise QuantbentoError(f"ONNX Runtime could not quantize the graph: {summary(error)}") from error

    def _measure(self) -> None:
        """Writes the range of every activation to `ranges`. `quantize_static` would do the same, but with as many bins
        for an entropy as there are levels, which gives the range of all that was seen."""
        from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator, save_tensors_data

        options = {"percentile": self.settings["extra_options"]["CalibPercentile"]}
        if self.settings["calibrate_method"] == CalibrationMethod.Entropy:
            options["num_bins"] = BINS
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            calibrator = create_calibrator(
                self.path,
                self.ops,
                str(Path(folder) / MODEL),
                self.settings["calibrate_method"],
                self.settings["use_external_data_format"],
                ["CPUExecutionProvider"],
                options,
            )
            for batch in self.batches:
                calibrator.collect_data(_Reader(batch))
            self.ranges.parent.mkdir(parents=True, exist_ok=True)
            staged = self.ranges.with_suffix(f".{uuid.uuid4().hex}")
            save_tensors_data(calibrator.compute_data(), staged)
        staged.replace(self.ranges)

    def quality(self, nodes: list[str], task: Any, folder: Path) -> float:
        """The SQNR in dB of what the task makes of the outputs on the calibration samples, when these nodes are
        quantized. `folder` is where to write to."""
        if self._expected is None:
            self._expected = self._answers(self.path.parent, task)
        self.write(nodes, folder / MODEL)
        return sqnr_db(self._expected, self._answers(folder, task))

    def _answers(self, folder: Path, task: Any) -> np.ndarray:
        return answers(OnnxRuntime.load(folder, {}, threads=default_threads()), task, self.batches)

    def _key(self) -> str:
        """What the ranges depend on."""
        import onnxruntime

        measured = {k: v for k, v in self.settings.items() if k in ("calibrate_method", "extra_options")}
        digest = hashlib.sha256(repr((onnxruntime.__version__, BINS, self.ops, measured)).encode())
        for file in sorted(self.path.parent.glob(f"{self.path.name}*")):
            digest.update(file.read_bytes())
        for name, values in (item for batch in self.batches for item in sorted(batch.items())):
            digest.update(repr((name, values.dtype.str, values.shape)).encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:32]


class _Reader:
    """ONNX Runtime's `CalibrationDataReader` of one batch; it knows it by its method. Batches go one after the
    other: together, all that is measured would lie in memory, and histograms want batches of one size."""

    def __init__(self, batch: Arrays) -> None:
        self._left = [batch]

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


def count(path: Path, before: set[str], optimized: Path) -> tuple[dict[str, int], int]:
    """The integer operators by type that ONNX Runtime makes of a file when it loads it, and the number of quantized
    weights.

    Args:
        before: names of the weights of the graph that was quantized.
        optimized: where what it makes is written.
    """
    import onnx

    session(path, optimized)
    after = onnx.load(optimized, load_external_data=False).graph
    counts = Counter(node.op_type for node in after.node if node.op_type in QUANTIZED and node.op_type not in AROUND)
    integers = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    held = [i for i in onnx.load(path, load_external_data=False).graph.initializer if i.name not in before]
    sizes = {i.name: prod(i.dims) for i in held if i.data_type in integers and "zero_point" not in i.name}
    return dict(counts), sum(sizes.values())
