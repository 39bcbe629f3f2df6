"""The converter's worker gets what it needs, once per workspace; what cannot be converted is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Silent
from quantbento.inputs import gguf
from quantbento.tasks.source import SourceModel
from tests.trained_llama import job_of_trained


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The jobs that the worker gets; it writes an empty file."""
    jobs = []

    def run(python, script, job, on_progress):
        jobs.append(job)
        Path(job["output"]).write_bytes(b"")

    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf, "version", lambda name: "1.2.3")
    monkeypatch.setattr(gguf.isolated, "environment", lambda requirements, say: Path("python"))
    monkeypatch.setattr(gguf.isolated, "run", run)
    return jobs


def test_a_checkpoint_is_converted_once_in_its_own_dtype(asked, trained_llama, tmp_path):
    job = job_of_trained(trained_llama, tmp_path / "workspace")
    assert job.gguf() == job.gguf() == tmp_path / "workspace" / "gguf" / "model.gguf"
    [work] = asked
    assert (work["model"], work["type"], work["trust_remote_code"]) == (str(trained_llama), "bf16", False)
    assert work["release"] == "llama-cpp-python==1.2.3"
    assert Path(work["converter"]) == tmp_path / "cache" / "llama.cpp" / "1.2.3"


def test_other_dtypes_are_refused(asked, trained_llama, tmp_path):
    source = job_of_trained(trained_llama, tmp_path).source
    with pytest.raises(QuantbentoError, match="float32, float16, bfloat16, not in float8_e4m3fn"):
        gguf.convert(SourceModel(folder=source.folder, dtype="float8_e4m3fn"), tmp_path / "a.gguf", Silent())
    assert asked == []
