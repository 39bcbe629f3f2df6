"""Quantizes the recogniser of a package for OCR in several ways, and prints as a table in Markdown how many characters
each reads right, and how fast:

    pip download --no-deps --dest wheels rapidocr-onnxruntime==1.4.4
    python -m benchmarks.ocr_recogniser wheels
    python -m benchmarks.ocr_recogniser wheels --noise 60    # lines that are hard to read

The lines are made up (examples/text_lines.py); it calibrates on others than it judges on. A variant that loses more
than half a point of character accuracy is not stored. All speedups are over ONNX Runtime in float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.onnx_files import onnx_files
from examples import text_lines
from quantbento.core.errors import QuantbentoError
from quantbento.judging.rows import ReferenceRow, Report, VariantRow
from quantbento.making import pipeline

RECOGNISER = "ch_PP-OCRv4_rec_infer.onnx"
CALIBRATION, EVALUATION = 32, 256  # lines
MAX_DROP = 0.005  # of character accuracy
BENCHMARK = {"items": 8, "rounds": 20, "latency_calls": 20, "memory": False}
# The first ten convolutions stay in full precision: a tenth of the time, and alone they do most of the harm. The two
# runtimes name them differently.
FIRST_TEN = {"onnx": ["node_Conv_0", "p2o.Conv.[1-9]"], "openvino": ["p2o.Conv.[0-9]", "p2o.Conv.[0-9]/*"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "onnx-static": {},
    "onnx-static-percentile": {"calibration_method": "percentile"},
    "onnx-static-part": {"calibration_method": "percentile", "exclude_nodes": FIRST_TEN["onnx"]},
    "onnx-static-20db": {"calibration_method": "percentile", "min_sqnr_db": 20},
    "openvino": {},
    "openvino-part": {"exclude_nodes": FIRST_TEN["openvino"]},
}
HEADER = (
    "| variant | options | characters right | same steps | SQNR, dB | speedup (p10-p90) | size ratio | outcome |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path, metavar="FOLDER_OR_WHEEL")
    parser.add_argument("--noise", type=float, default=text_lines.NOISE, help="shades of grey (default: %(default)g)")
    parser.add_argument("--lines", type=int, default=EVALUATION, help="to judge on (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=BENCHMARK["rounds"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as space:
        try:
            report = save(given.places, Path(space), given.variants, given.lines, given.noise, given.rounds)
        except QuantbentoError as error:
            parser.error(str(error))
    print(HEADER)
    for row in filter(None, [report.baseline, *report.references, *report.variants]):
        print(_line(row), flush=True)


def save(places: Sequence[Path], space: Path, variants: Sequence[str], lines: int, noise: float, rounds: int) -> Report:
    """Makes, judges and stores variants of the recogniser.

    Args:
        places: folders and wheels, one of which holds it.
        space: where samples and reports are written.
        variants: names in `VARIANTS`.
        lines: how many to judge on.
        noise: of the lines, in shades of grey.
        rounds: of the benchmark.
    """
    model = next((path for path in onnx_files(places, space) if path.name == RECOGNISER), None)
    if model is None:
        raise QuantbentoError(f"no {RECOGNISER} in {', '.join(map(str, places))}")
    for name, (pictures, texts) in {
        "calibration": text_lines.calibration(CALIBRATION, noise),
        "evaluation": text_lines.held_out(lines, noise),
    }.items():
        np.savez(space / f"{name}.npz", x=pictures, label=np.asarray(texts))
    recipe = {
        "schema_version": 1,
        "name": "ocr-recogniser",
        "task": "examples.line_reading:LineReading",
        "model": {"onnx": str(model)},
        "evaluation": {"path": str(space / "evaluation.npz")},
        "calibration": {"path": str(space / "calibration.npz")},
        "benchmark": BENCHMARK | {"rounds": rounds},
        "gates": {"max_drop": {"character_accuracy": MAX_DROP}},
        "variants": [
            {"name": name, "quantizer": "onnx-static" if "onnx" in name else "openvino", "options": VARIANTS[name]}
            for name in variants
        ],
    }
    return pipeline.save(recipe, output=space / "reports", force=True)


def _line(row: ReferenceRow | VariantRow) -> str:
    """A line of the table."""
    options = outcome = ""
    if isinstance(row, VariantRow):
        options, outcome = _options(row.options), row.error or ("stored" if row.passed else "refused")
        if row.error:
            return f"| `{row.name}` | {options} | - | - | - | - | - | {outcome} |"
    metrics, speedup = row.metrics, row.speedup or {}
    cells = [
        f"`{row.name}`",
        options,
        f"{metrics['character_accuracy']:.2%}",
        f"{metrics['agreement']:.2%}",
        "" if row.name.endswith("fp32") else f"{metrics['sqnr_db']:.1f}",
        f"{speedup['median']:.2f}x ({speedup['p10']:.2f}-{speedup['p90']:.2f})",
        f"{row.size_ratio:.2f}",
        outcome,
    ]
    return f"| {' | '.join(cells)} |"


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"`{name}: {value}`".replace("'", "") for name, value in options.items())


if __name__ == "__main__":
    main()
