"""Writes a checkpoint in hub format as a GGUF file, with llama.cpp's convert_hf_to_gguf.py.

Runs where `REQUIREMENTS` are installed and imports nothing from quantbento. The job:

    model               folder in hub format
    output              the .gguf file to write
    type                "f32", "f16" or "bf16"
    trust_remote_code   whether code in the folder may run; the converter alone would always run it
    release             the source distribution that holds the converter, "llama-cpp-python==VERSION"
    converter           folder that the converter is unpacked into, if it is not there

The result is empty: the file shows what was done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "core" / "isolated"))

from worker import OnProgress, run

INSIDE = ("vendor", "llama.cpp")  # of a source distribution
PARTS = ("LICENSE", "convert_hf_to_gguf.py", "conversion", "gguf-py")  # of llama.cpp
OTHERWISE = "default"  # how a file says that texts are split, where llama.cpp does not know the tokenizer


class CannotConvert(Exception):
    """Says in one line what cannot be done."""


def convert(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    folder = Path(job["converter"])
    if not folder.is_dir():
        on_progress("download", 0, 2)
        _fetch(job["release"], folder)
    on_progress("convert", 1, 2)
    sys.path.insert(0, str(folder))
    import convert_hf_to_gguf

    _trust(job["trust_remote_code"])
    _take_any_tokenizer()
    sys.argv = ["convert_hf_to_gguf.py", job["model"], "--outfile", job["output"], "--outtype", job["type"]]
    try:
        convert_hf_to_gguf.main()
    except SystemExit as end:
        if end.code:
            raise CannotConvert(
                "llama.cpp does not know this kind of model; use a variant for another runtime"
            ) from end
    return {}


def _fetch(release: str, final: Path) -> None:
    """Downloads the source distribution and keeps the converter. It is unpacked beside its place and then moved."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="staging-", dir=final.parent) as temporary:
        name = release.partition("==")[0]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", name, "-d", temporary, release]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
            reason = (told or ["it said nothing"])[0].removeprefix("ERROR: ")
            raise CannotConvert(f"pip cannot download the source of {release}, which holds the converter: {reason}")
        (archive,) = Path(temporary).glob("*.tar.gz")
        staged = Path(temporary, "unpacked")
        _unpack(archive, staged)
        try:
            staged.rename(final)
        except OSError:
            if not final.is_dir():  # another run was faster
                raise


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as file:
        for member in file:
            parts = PurePosixPath(member.name).parts
            if parts[1:3] == INSIDE and len(parts) > 3 and parts[3] in PARTS:
                member.name = str(PurePosixPath(*parts[3:]))
                file.extract(member, target, filter="data")
    if missing := [part for part in PARTS if not (target / part).exists()]:
        shutil.rmtree(target, ignore_errors=True)
        raise CannotConvert(f"{archive.name} has no {', '.join(missing)} of llama.cpp; use another version")


def _trust(allowed: bool) -> None:
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained

    def careful(*given: Any, **more: Any) -> Any:
        return read(*given, **{**more, "trust_remote_code": allowed})

    AutoTokenizer.from_pretrained = careful  # type: ignore[method-assign]


def _take_any_tokenizer() -> None:
    """The converter refuses byte-level tokenizers that are not in its list. The file is used with token ids here, so
    how llama.cpp would split texts does not matter; whoever gives it texts is told by `tokenizer.ggml.pre`."""
    from conversion.base import TextModel

    known = TextModel.get_vocab_base_pre

    def name_of(model: Any, tokenizer: Any) -> str:
        try:
            return known(model, tokenizer)
        except NotImplementedError:
            return OTHERWISE

    TextModel.get_vocab_base_pre = name_of


if __name__ == "__main__":
    os.environ.pop("NO_LOCAL_GGUF", None)  # the converter goes with the gguf package beside it
    run(convert)
