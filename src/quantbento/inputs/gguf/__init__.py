"""A checkpoint in hub format as a GGUF file in full precision, written by llama.cpp's own converter.

llama.cpp publishes its converter in no package of its own. The source distribution of llama-cpp-python contains it, so
that of the installed version is downloaded by name, once, and unpacked into the cache. What it imports is installed in
an isolated environment.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from quantbento.core import isolated
from quantbento.core.cache import cache_folder
from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Progress
from quantbento.tasks.source import SourceModel

WORKER = Path(__file__).with_name("gguf_worker.py")
ENGINE = "llama-cpp-python"
# The versions of torch and transformers with which this project writes checkpoints and tokenizers; pip downloads.
REQUIREMENTS = ("transformers>=5.17,<5.20", "torch>=2.13,<2.14", "sentencepiece>=0.2", "protobuf>=4.21", "pip>=24")
TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}  # the converter's names


def convert(source: SourceModel, path: Path, progress: Progress) -> None:
    """Writes the checkpoint as a GGUF file in its own dtype.

    Raises:
        QuantbentoError: llama.cpp does not know this kind of model, or the converter cannot be had.
    """
    if source.folder is None or source.dtype not in TYPES:
        raise QuantbentoError(f"llama.cpp converts checkpoints in {', '.join(TYPES)}, not in {source.dtype}")
    python = isolated.environment(REQUIREMENTS, progress.say)
    release = version(ENGINE)
    work = {
        "model": str(source.folder),
        "output": str(path),
        "type": TYPES[source.dtype],
        "trust_remote_code": source.trust_remote_code,
        "release": f"{ENGINE}=={release}",
        "converter": str(cache_folder("llama.cpp") / release),
    }
    with progress.stage("convert to GGUF") as advance:
        isolated.run(python, WORKER, work, lambda stage, done, total: advance(done, total))
