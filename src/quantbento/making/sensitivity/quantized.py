"""Layers alone by the quantizer itself: all others are kept, and the result runs in the runtime that serves it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.judging.evaluate import checked_rows
from quantbento.judging.references import in_order
from quantbento.making.resolve import ResolvedVariant
from quantbento.runtimes import artifact
from quantbento.tasks.base import Arrays
from quantbento.tasks.source import SampleSet

# Options that would take long for every layer and change nothing of what a layer alone costs.
WITHOUT = {"min_sqnr_db": None, "compile": False}


class Quantized:
    """Quantizes with a variant's own quantizer.

    Attributes:
        options: the variant's, but for `WITHOUT`.
        runtime: what runs the models.
        measured: how a layer is quantized, in words.
    """

    def __init__(self, job: Job, variant: ResolvedVariant, samples: SampleSet, threads: int, device: str) -> None:
        fields = type(variant.options).model_fields
        changes = {k: v for k, v in WITHOUT.items() if k in fields and getattr(variant.options, k) != v}
        self.options = variant.options.model_copy(update=changes)
        self.job, self.variant, self.samples, self.threads, self.device = job, variant, samples, threads, device
        self.runtime = variant.runtime.name
        without = f", without {' and '.join(changes)}" if changes else ""
        self.measured = f"{variant.quantizer.name}, all other layers kept{without}; run by {self.runtime}"

    def layers(self) -> dict[str, int]:
        """The layers with the number of their weights; see `Quantizer.layers`."""
        return self.variant.quantizer.layers(self.job, self.options)

    def full_precision(self) -> Arrays:
        """The rows of full precision, in the same runtime where it has that."""
        with self.original() as (loaded, _):
            return checked_rows(loaded, self.samples, "the full-precision model")

    def rows(self, kept: Sequence[str]) -> Arrays:
        """The rows with all layers quantized but for `kept`."""
        with self.loaded(kept) as (loaded, _):
            return checked_rows(loaded, self.samples, "the model")

    @contextlib.contextmanager
    def original(self) -> Iterator[tuple[Any, Path | None]]:
        """The full-precision model, loaded, and its artifact."""
        job, dtype = self.job, self.job.source.dtype or "float32"
        with _space(job.workspace) as folder:
            for runtime in (self.variant.runtime, in_order(job, [self.variant.runtime])[0]):
                if (config := runtime.write_reference(job, folder, dtype)) is not None:
                    job.complete(folder, runtime, config)
                    break
            else:
                raise QuantbentoError(f"the {self.runtime} runtime cannot run this model in full precision")
            with contextlib.closing(artifact.load(folder, self.threads, self.device)) as loaded:
                yield loaded, folder

    @contextlib.contextmanager
    def loaded(self, kept: Sequence[str]) -> Iterator[tuple[Any, Path | None]]:
        """The model with all layers quantized but for `kept`, loaded, and its artifact."""
        quantizer, variant = self.variant.quantizer, self.variant
        with _space(self.job.workspace) as folder:
            options = quantizer.keeping(self.options, kept) if kept else self.options
            done = quantizer.quantize(self.job, options, folder)
            self.job.complete(folder, variant.runtime, done.runtime_config, variant.devices)
            with contextlib.closing(artifact.load(folder, self.threads, self.device)) as loaded:
                yield loaded, folder


@contextlib.contextmanager
def _space(workspace: Path) -> Iterator[Path]:
    """A folder in a workspace; it goes with everything else that was written there meanwhile, but for what other
    layers use too."""
    before = set(workspace.iterdir())
    folder = Path(tempfile.mkdtemp(dir=workspace))
    try:
        yield folder
    finally:
        for path in set(workspace.iterdir()) - before:
            if path.is_dir() and path.name.startswith("tmp"):
                shutil.rmtree(path, ignore_errors=True)
