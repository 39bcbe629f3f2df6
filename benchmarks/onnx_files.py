"""Takes ONNX files as they come through `onnx-dynamic`, and prints what became of each as a table in Markdown:

    pip download --no-deps --dest wheels rapidocr-onnxruntime rapidocr magika silero-vad
    python -m benchmarks.onnx_files wheels

Folders and wheels are searched for `.onnx` files. The inputs are made up: of the types and shapes that a graph
declares, random from a fixed seed. They tell whether a graph can be quantized, how fast it is then, and how far its
answers are from full precision on such inputs. What that means for real ones, only real samples tell.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.judging.rows import VariantRow
from quantbento.making import pipeline
from quantbento.quantizers.onnx.candidates import listed, operators, parameters
from quantbento.tasks.tensor.graph import read

SAMPLES = 8
# Tried in this order for axes of any size: the last two of an image, and those of anything else.
IMAGES = ((320, 320), (48, 320), (224, 224), (64, 64), (32, 32))
SIZES = (512, 256, 128, 64, 16, 4, 1)
LARGEST_INTEGERS = (256, 2)  # integers are bytes or token ids, or else choices
BENCHMARK = {"items": 8, "rounds": 20, "latency_calls": 10, "memory": False}


@dataclass(frozen=True)
class Outcome:
    """What became of a file: `row` where it was quantized, otherwise `error`, which says why not."""

    name: str
    opset: str = "-"
    operators: str = "-"
    parameters: int = 0
    row: VariantRow | None = None
    error: str = ""

    def line(self) -> str:
        """Its line of the table."""
        figures = ["-"] * 4
        told = re.sub(r" \(it has .*?\)", "", self.error).replace("|", "/").replace("\n", " ")
        if self.row is not None:
            done, speedup = self.row.quantized, self.row.speedup or {}
            share = done["parameters"] / max(1, done["of_parameters"])
            kinds = ", ".join(f"{count} {kind}" for kind, count in done["counts"].items())
            told = f"stored: {kinds}"
            figures = [
                f"{share:.1%}",
                f"{self.row.metrics['sqnr_db']:.1f}",
                f"{speedup['median']:.2f}x ({speedup['p10']:.2f}-{speedup['p90']:.2f})",
                f"{self.row.size_ratio:.2f}",
            ]
        size = f"{self.parameters / 1e6:.2f} M"
        return "| " + " | ".join([self.name, self.opset, self.operators, size, told, *figures]) + " |"


HEADER = (
    "| file | opset | operators | weights | outcome | in INT8 | SQNR, dB | speedup | size ratio |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="+", type=Path, metavar="FOLDER_OR_WHEEL")
    parser.add_argument("--rounds", type=int, default=BENCHMARK["rounds"])
    arguments = parser.parse_args()
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as space:
        for path in onnx_files(arguments.places, Path(space)):
            print(quantize(path, Path(space), rounds=arguments.rounds).line(), flush=True)


def onnx_files(places: Sequence[Path], space: Path) -> Iterator[Path]:
    """The ONNX files in folders and wheels; those of a wheel are unpacked into `space`."""
    for place in places:
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        for file in files:
            if file.suffix == ".whl":
                with zipfile.ZipFile(file) as wheel:
                    names = sorted(name for name in wheel.namelist() if name.endswith(".onnx"))
                    yield from (Path(wheel.extract(name, space / "wheels" / file.stem)) for name in names)
            elif file.suffix == ".onnx":
                yield file


def quantize(path: Path, space: Path, rounds: int) -> Outcome:
    """Takes a file through the pipeline; nothing is added to the user's model store but what the environment says.

    Args:
        path: the file.
        space: where samples and reports are written.
        rounds: of the benchmark.
    """
    import onnx

    known: dict[str, Any] = {"name": path.name}
    try:
        read(path)
        model = onnx.load(path, load_external_data=False)
        known |= {
            "opset": "/".join(str(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")),
            "operators": listed(operators(model.graph), most=4),
            "parameters": parameters(model.graph),
        }
        samples = space / "samples.npz"
        np.savez(samples, **made_up(path))
        recipe = {
            "schema_version": 1,
            "name": path.stem.lower().replace(".", "-"),
            "task": "tensor",
            "model": {"onnx": str(path)},
            "evaluation": {"path": str(samples)},
            "benchmark": BENCHMARK | {"rounds": rounds},
            "variants": [{"name": "int8", "quantizer": "onnx-dynamic"}],
        }
        [row] = pipeline.save(recipe, output=space / "reports", force=True).variants
    except QuantbentoError as error:
        return Outcome(**known, error=str(error))
    if row.error:
        return Outcome(**known, error=row.error)
    return Outcome(**known | {"parameters": row.quantized["of_parameters"]}, row=row)


def made_up(path: Path) -> dict[str, np.ndarray]:
    """Made-up samples by input name, each (SAMPLES, ...), that the graph takes.

    Raises:
        QuantbentoError: it takes none of the shapes that were tried, or ONNX Runtime cannot load it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise QuantbentoError(f"ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
    inputs = read(path).inputs
    reason = ""
    for image, size, largest in product(IMAGES, SIZES, LARGEST_INTEGERS):
        random = np.random.default_rng(0)
        axes = {name: batch_axis(dims or []) for name, (_, dims) in inputs.items()}
        items: dict[str, list[np.ndarray]] = {}
        for name, (dtype, dims) in inputs.items():
            shape = _shape(list(dims or []), axes[name], image, size)
            values = [_values(random, shape, np.dtype(dtype), largest) for _ in range(SAMPLES)]
            items[name] = values if axes[name] is not None else values[:1] * SAMPLES
        one = {n: v[0] if axes[n] is None else np.expand_dims(v[0], axes[n]) for n, v in items.items()}
        try:
            session.run(None, one)
        except Exception as error:  # not this shape, then
            reason = str(error).splitlines()[0]
            continue
        return {name: np.stack(values) for name, values in items.items()}
    raise QuantbentoError(f"no inputs could be made up: {reason}")


def batch_axis(dims: Sequence[int | str]) -> int | None:
    """The axis that the graph calls a batch, else the first of any size, else of size 1, else the first. A lone number
    has none."""
    able = sorted(range(len(dims)), key=lambda a: ("batch" not in str(dims[a]), isinstance(dims[a], int), dims[a] != 1))
    return able[0] if able else None


def _shape(dims: list[int | str], batch: int | None, image: tuple[int, int], size: int) -> list[int]:
    """The shape of one item."""
    if len(dims) == 4:
        dims[2:] = [free if isinstance(dim, str) else dim for dim, free in zip(dims[2:], image, strict=True)]
    return [size if isinstance(dim, str) else dim for axis, dim in enumerate(dims) if axis != batch]


def _values(random: np.random.Generator, shape: list[int], dtype: np.dtype, largest: int) -> np.ndarray:
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    return random.integers(0, 2 if dtype.kind == "b" else min(largest, 127), size=shape).astype(dtype)


if __name__ == "__main__":
    main()
