"""Checks of what a quantizer wrote, without the runtime that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbento.core.progress import Advance
from quantbento.inputs.job import Job
from quantbento.making.unjudged import checkpoint, files
from quantbento.quantizers.base import Quantizer

CONFIG = "config.json"


def check(job: Job, quantizer: Quantizer, folder: Path, advance: Advance) -> dict[str, Any]:
    """The row's `checked`: a checkpoint is compared with its source; of others, each file is parsed.

    Raises:
        QuantbentoError: lists what is wrong with it.
    """
    found = files.check(folder)
    if job.source.folder is None or not (folder / CONFIG).is_file() or not any(folder.glob("*.safetensors")):
        return found
    checked = checkpoint.check(
        folder,
        job.source.folder,
        advance,
        trust_remote_code=job.source.trust_remote_code,
        up_to_scales=quantizer.rescales,
    )
    for note in checked.notes:
        job.progress.say(note)
    return found | checked.report()
