"""What a quantizer works from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento.core.machine import package_versions
from quantbento.core.progress import Progress, Silent
from quantbento.core.stage_cache import StageCache
from quantbento.inputs import adapters, draft_models, gguf
from quantbento.inputs.onnx_export import export
from quantbento.inputs.onnx_graph import CanonicalGraph, canonical
from quantbento.inputs.onnx_traces import strip_file
from quantbento.runtimes import artifact
from quantbento.runtimes.base import Runtime
from quantbento.runtimes.llama_cpp import MODEL as GGUF
from quantbento.runtimes.onnx import MODEL
from quantbento.tasks.source import SampleSet, SourceModel

CANONICAL = "onnx-canonical"  # a folder in the workspace


@dataclass
class Job:
    """Evaluation samples are not part of it: a quantizer never sees what its result is judged on.

    Attributes:
        source: the full-precision model; quantizers do not change it.
        task: what the model is for (`quantbento.tasks.base.Task`).
        workspace: a folder that all variants share: a quantizer may use what an earlier one wrote there.
        calibration: what the task's `calibrate` makes of the recipe's calibration samples.
        training: the recipe's training samples, their inputs in canonical form.
        custom_objects: Python objects that are stored with the model, by name.
        engine: the recipe's settings for the runtime's engine.
        adapters: folders of LoRA adapters by name, which every artifact keeps beside the model.
        progress: shows how far the run is.
        cache: stages that an earlier run finished; empty unless a run sets it.
        graph: what `canonical_onnx` gives, once it was made.
    """

    source: SourceModel
    task: Any
    workspace: Path
    calibration: Any = None
    training: SampleSet | None = None
    custom_objects: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    adapters: dict[str, Path] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)
    cache: StageCache = field(default_factory=StageCache)
    graph: CanonicalGraph | None = None

    def onnx(self) -> Path:
        """The full-precision model as an ONNX file: the user's own file, or one exported once per workspace.

        Raises:
            QuantbentoError: it cannot be exported.
        """
        if self.source.onnx:
            return self.source.onnx
        path = self.workspace / "onnx-fp32" / MODEL
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.cache.restore("ONNX export", {}, {"graph": path.parent}) is None:
                assert self.source.module is not None
                export(self.source.module, self.task, path)
                self.cache.keep("ONNX export", {}, {}, {"graph": path.parent})
        return path

    def gguf(self) -> Path:
        """The full-precision checkpoint as a GGUF file in its own dtype, converted once per workspace.

        Raises:
            QuantbentoError: llama.cpp cannot convert it.
        """
        path = self.workspace / "gguf" / GGUF
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            depends = package_versions([gguf.ENGINE])
            if self.cache.restore("GGUF conversion", depends, {"model": path.parent}) is None:
                gguf.convert(self.source, path, self.progress)
                self.cache.keep("GGUF conversion", depends, {}, {"model": path.parent})
        return path

    def canonical_onnx(self) -> CanonicalGraph:
        """The same in the form that quantizers expect: weights as initializers, a new opset. Made once per workspace.

        Raises:
            QuantbentoError: the model cannot be exported.
        """
        if self.graph is None:
            self.graph = canonical(self.onnx(), self.workspace / CANONICAL)
        return self.graph

    def complete(
        self,
        folder: Path,
        runtime: type[Runtime],
        runtime_config: dict[str, Any],
        devices: tuple[str, ...] | None = None,
        engine: dict[str, Any] | None = None,
    ) -> None:
        """Turns a folder that a model was written to into an artifact that runs on some kinds of devices, by default
        all of the runtime's, with settings of its engine, by default the recipe's. What exporters note in an ONNX file
        does not go along, whoever wrote it."""
        if (folder / MODEL).is_file():
            strip_file(folder / MODEL)
        settings = self.engine if engine is None else engine
        if runtime.Settings is not None:
            settings = draft_models.keep(settings, folder)
        if self.adapters:
            runtime_config = {**runtime_config, "adapters": adapters.write(self.adapters, folder)}
        artifact.write(folder, self.task, runtime, runtime_config, self.custom_objects, settings, devices)
