"""benchmarks/encoders.py times contenders of another Python by that one's own clock, and leaves no process behind.

That Python is this one here, with tiny modules in the place of the libraries that optimum_backend.py calls.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks import encoders, optimum_backend
from quantbento.core.errors import QuantbentoError

LIBRARIES = {
    "torch": "def set_num_threads(threads):\n    print('torch with', threads)\n",
    "onnxruntime": "class SessionOptions:\n    intra_op_num_threads = 0\n",
    "sentence_transformers": """
import os, sys, time
from pathlib import Path

class SentenceTransformer:
    def __init__(self, source, device, backend, model_kwargs):
        time.sleep(0.3)
        assert "quantbento" not in sys.modules
        self.backend, self.threads = backend, self.threads_of(**model_kwargs)
        self.file = model_kwargs.get("file_name", "exported")
        assert self.file == "exported" or (Path(source) / backend / self.file).is_file()

    def threads_of(self, session_options=None, ov_config=None, **others):
        return session_options.intra_op_num_threads if session_options else ov_config["INFERENCE_NUM_THREADS"]

    def save_pretrained(self, folder):
        (Path(folder) / self.backend).mkdir(parents=True)

    def encode(self, texts):
        print("noise on stdout")
        if "end" in texts:
            sys.exit("out of memory, say")
        time.sleep(0.1)
        return [[os.getpid(), self.threads, len(self.file), *map(len, texts)]]

def export_dynamic_quantized_onnx_model(model, config, folder, file_suffix):
    (Path(folder) / "onnx" / f"model_{file_suffix}.onnx").touch()

def export_static_quantized_openvino_model(model, config, folder, dataset_name, file_suffix, **others):
    assert len((Path(dataset_name) / "train.txt").read_text().splitlines()) == 200
    (Path(folder) / "openvino" / f"openvino_model_{file_suffix}.xml").touch()
""",
}
FILES = {"onnx-int8": "model_int8.onnx", "openvino-int8": "openvino_model_int8.xml"}


@pytest.fixture
def another(tmp_path, monkeypatch):
    """Starts a contender of another Python, by its kind."""
    for name, source in LIBRARIES.items():
        (tmp_path / "libraries").mkdir(exist_ok=True)
        (tmp_path / "libraries" / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "libraries"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return lambda kind: encoders.in_another_python(Path(sys.executable), kind, str(tmp_path), threads=3)


@pytest.mark.parametrize("kind", optimum_backend.KINDS)
def test_a_backend_answers_with_its_own_time_and_vectors(another, kind):
    with another(kind) as timed:
        start = time.perf_counter()
        seconds, vectors = timed(["é", "a text\nof two lines"])
        assert 0.1 <= seconds <= time.perf_counter() - start - 0.3  # loading is not counted
    process, threads, file, *lengths = vectors[0]
    assert process != os.getpid() and threads == 3
    assert file == len(FILES.get(kind, "exported"))
    assert lengths == [1, 19]


def test_a_process_ends_with_its_block_also_after_an_error(another, tmp_path):
    with contextlib.suppress(ZeroDivisionError), another("onnx") as timed:
        process = int(timed(["a"])[1][0][0])
        assert psutil.pid_exists(process)
        _ = 1 / 0
    assert not psutil.pid_exists(process)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_process_that_ends_early_is_an_error_with_its_last_words(another, tmp_path):
    texts = ["a" * 10_000] * 100  # more than a pipe holds
    (tmp_path / "libraries" / "torch.py").write_text("import missing_library")
    why = r"(?s)onnx.*No module named 'missing_library'.*pip install"
    with pytest.raises(QuantbentoError, match=why), another("onnx") as timed:
        timed(texts)
    (tmp_path / "libraries" / "torch.py").write_text(LIBRARIES["torch"])
    with pytest.raises(QuantbentoError, match="out of memory"), another("onnx") as timed:
        timed(["a"])
        timed([*texts, "end"])


def test_a_python_that_is_none_is_an_error(tmp_path):
    contender = encoders.in_another_python(tmp_path / "no-python", "onnx", str(tmp_path), 1)
    with pytest.raises(QuantbentoError, match="no-python does not run: No such file"), contender:
        pass


def test_the_table_is_of_the_contenders_own_clocks(main, monkeypatch, capsys):
    def contenders(threads, optimum, children):
        vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
        yield encoders.BASELINE, lambda texts: (4.0, vectors)
        yield "fast", lambda texts: (1.0, vectors + vectors[1])  # 45 degrees away, and none

    monkeypatch.setattr(encoders, "contenders", contenders)
    assert main("--items", "2", "--rounds", "3") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"| {encoders.BASELINE} | 1.0000 | 0 | 1.00x (1.00-1.00) |",
        "| fast | 0.8536 | 2 | 4.00x (4.00-4.00) |",
    ]


def test_a_missing_model_is_said_first(main, bento_home, tmp_path, capsys):
    assert main("--optimum-python", str(tmp_path / "no-python")) == 2
    printed = capsys.readouterr().err
    assert "error: no model 'minilm-l6-v2-openvino-int8'" in printed
    assert printed.endswith("Store them first: python save_models.py configs/minilm.yaml\n")


@pytest.fixture
def main(monkeypatch):
    """Runs the benchmark with arguments."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["encoders", *arguments])
        return encoders.main()

    monkeypatch.setattr("signal.signal", lambda *_: None)
    return run
