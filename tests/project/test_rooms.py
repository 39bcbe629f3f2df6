"""What serves needs neither recipes nor quantizers, nor another runtime's packages: an image can do without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

NEVER = {"torch", "transformers", "onnx", "onnxscript", "peft", "datasets", "sklearn"}
NOT_SERVING = {
    f"quantbento.{name}"
    for name in ("recipe", "pipeline", "plan", "source", "samples", "quantizers", "packing", "commands")
}


def loaded(code: str, home) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT,
        env={"BENTOML_HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.slow
def test_serving_an_onnx_model_loads_neither_torch_nor_the_pipeline(served_home):
    code = (
        "import service; served = service.ServedModel(service.settings, 'tiny-encoder-onnx-int8', 'feature-extraction')"
        ".load(); assert len(served.answers(['the film'])) == 1"
    )
    modules = loaded(code, served_home)
    assert "onnxruntime" in modules
    assert modules & (NEVER | NOT_SERVING) == set()


def test_the_package_itself_imports_nothing(tmp_path):
    heavy = NEVER | NOT_SERVING | {"numpy", "pydantic", "bentoml", "onnxruntime", "rich"}
    assert loaded("import quantbento; quantbento.__version__", tmp_path) & heavy == set()
