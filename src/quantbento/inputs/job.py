"""What a quantizer works from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento.core.progress import Progress, Silent
from quantbento.inputs.onnx_export import export
from quantbento.inputs.samples import SampleSet
from quantbento.inputs.source import SourceModel
from quantbento.runtimes import artifact
from quantbento.runtimes.base import Runtime
from quantbento.runtimes.onnx import MODEL


@dataclass
class Job:
    """Evaluation samples are not among it: a quantizer never sees what its result is judged on.

    Attributes:
        source: the full-precision model; it stays as it was.
        task: what the model is for (`quantbento.tasks.base.Task`).
        workspace: a folder that outlives the variant: what one quantizer made there, the next may use.
        calibration: what the task's `calibrate` makes of the recipe's calibration samples.
        training: the recipe's training samples, their inputs in canonical form.
        custom_objects: Python objects that travel with the model, by name.
        engine: the recipe's settings of the runtime's engine.
        progress: of the run.
    """

    source: SourceModel
    task: Any
    workspace: Path
    calibration: Any = None
    training: SampleSet | None = None
    custom_objects: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)

    def onnx(self) -> Path:
        """The full-precision model as an ONNX file: the user's own, or exported once per workspace.

        Raises:
            QuantbentoError: it cannot be exported.
        """
        if self.source.onnx:
            return self.source.onnx
        path = self.workspace / "onnx-fp32" / MODEL
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            assert self.source.module is not None
            export(self.source.module, self.task, path)
        return path

    def complete(self, folder: Path, runtime: type[Runtime], runtime_config: dict[str, Any]) -> None:
        """Makes an artifact of a folder that a model was written to."""
        artifact.write(folder, self.task, runtime, runtime_config, self.custom_objects, self.engine)
