"""The full-precision model that a recipe names, wherever it is.

Its identity is found cheaply, without torch or transformers. `load` reads the weights. For tasks whose models stay on
disk it returns a 16-bit checkpoint instead, which quantizers read themselves. The model's own files are never written
to: a LoRA adapter is merged in memory, or into a checkpoint in the run's workspace.
"""

from __future__ import annotations

import tempfile
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from quantbento.core import registry, user_code
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import hub, model_files, picklable
from quantbento.inputs.folders import FILES, SMALL_FILES, hash_files, hash_folder, local_folder
from quantbento.recipe import ModelSpec
from quantbento.runtimes.onnx import external_data
from quantbento.runtimes.transformers import auto_class_of
from quantbento.tasks.base import Task
from quantbento.tasks.source import SourceModel


class NamedModel:
    """A recipe's model. It is found, fetched and made at most once, when it is first needed.

    Args:
        spec: what the recipe says.
        task: what the model is for; None is enough where only its identity is needed.
    """

    extra = "quantize"  # this project's extra that installs `modules`

    def __init__(self, spec: ModelSpec, task: type[Task] | None = None) -> None:
        self.spec, self.task = spec, task

    @property
    def modules(self) -> tuple[str, ...]:
        """The import names that `load` needs."""
        spec = self.spec
        if spec.onnx:
            return ("onnx",)
        if spec.torchscript or spec.exported or spec.picklable:
            return ("torch",)
        wanted: dict[str, Any] = {"transformers": self.task and self.task.auto_class, "huggingface_hub": spec.id}
        wanted |= {"safetensors": spec.weights, "peft": spec.adapter or spec.adapters}
        return ("torch", *(name for name, needed in wanted.items() if needed))

    @property
    def distributions(self) -> tuple[str, ...]:
        """Packages whose versions decide what is read."""
        return tuple(name.replace("_", "-") for name in self.modules)

    @cached_property
    def pinned(self) -> ModelSpec:
        """The specification with the hub's commit as its revision, because a branch may move during a run.

        Raises:
            QuantbentoError: there is no such model on the hub, or it can be neither reached nor found in the cache.
        """
        return self.spec.model_copy(update={"revision": hub.commit_of(self.spec)}) if self.spec.id else self.spec

    def identity(self) -> dict[str, Any]:
        """What identifies this model: a hub id with its commit, or the sha256 of its files.

        Raises:
            QuantbentoError: a folder, package or module is missing.
        """
        spec = self.pinned
        adapter: dict[str, Any] = {"adapter_sha256": hash_folder(spec.adapter)} if spec.adapter else {}
        if spec.adapters:
            adapter["adapters_sha256"] = {name: hash_folder(folder) for name, folder in spec.adapters.items()}
        if spec.factory:
            weights = {"weights_sha256": hash_files([spec.weights])} if spec.weights else {}
            return user_code.identity(spec.factory) | weights | adapter
        if spec.picklable:
            return picklable.identity(spec.picklable) | adapter
        if spec.torchscript:
            return {"torchscript": spec.torchscript.name, "sha256": hash_files([spec.torchscript])}
        if spec.exported:
            return {"exported": spec.exported.name, "sha256": hash_files([spec.exported])}
        if spec.onnx:
            return {"onnx": spec.onnx.name, "sha256": hash_files([spec.onnx, *external_data(spec.onnx)])}
        if spec.id:
            return {"id": spec.id, "revision": spec.revision, "subfolder": spec.subfolder} | adapter
        folder = local_folder(spec)
        name = {"package": spec.package} if spec.package else {"path": folder.name}
        return name | {"sha256": hash_folder(folder)} | adapter

    @property
    def in_hub_format(self) -> bool:
        """Whether it is a folder in hub format. A factory is called for that.

        Raises:
            QuantbentoError: the factory fails.
        """
        named = self.spec.id or self.spec.path or self.spec.package
        return bool(named) or bool(self.spec.factory and isinstance(self._made, str | Path))

    def check_files(self) -> None:
        """Checks the files of a model that will be held in memory, without reading them whole.

        Raises:
            QuantbentoError: one is missing, or of another kind than the recipe says.
        """
        spec = self.spec
        for key in (model_files.TORCHSCRIPT, model_files.EXPORTED, model_files.WEIGHTS):
            if path := getattr(spec, key):
                model_files.check_kind(path, key)
        if spec.onnx:
            external_data(spec.onnx)
        if spec.picklable:
            picklable.identity(spec.picklable)
        elif not (spec.factory or spec.onnx or spec.torchscript or spec.exported):
            folder = self.folder()
            if not (folder / "config.json").is_file():
                raise QuantbentoError(f"{folder} is no model in hub format: it has no config.json")

    def folder(self, weights: bool = True) -> Path:
        """The folder of a model that is not a Python object or an ONNX file. With `weights=False`, the weights of a
        hub model are not downloaded.

        Raises:
            QuantbentoError: it cannot be found or fetched, or a factory returns no folder.
        """
        if self.spec.factory:
            if not isinstance(self._made, str | Path):
                raise QuantbentoError(
                    f"{self.spec.factory!r} must return the path of a folder in hub format for this task"
                )
            return Path(self._made)
        return hub.download(self.pinned, FILES if weights else SMALL_FILES) if self.spec.id else local_folder(self.spec)

    def load(self, workspace: Path | None = None) -> SourceModel:
        """The model for the task: in memory, or on disk; in `workspace` where it must be converted first.

        Raises:
            QuantbentoError: it cannot be found or read, lacks weights, or brings its own code without permission to
                run it.
        """
        from quantbento.inputs.modules import checked_module, in_16_bit, merge_adapter, read_folder

        spec, task = self.spec, self.task
        assert task is not None
        if spec.onnx:
            return SourceModel(onnx=spec.onnx)
        if spec.picklable:
            return SourceModel(module=merge_adapter(picklable.read(spec.picklable), spec.adapter))
        if spec.torchscript:
            return SourceModel(module=model_files.read_torchscript(spec.torchscript).float().eval())
        if spec.exported:
            return SourceModel(module=model_files.read_exported(spec.exported))
        if spec.factory and not isinstance(self._made, str | Path):
            module = checked_module(self._made, spec.factory)
            if spec.weights:
                model_files.load_weights(module, spec.weights, spec.factory)
            return SourceModel(module=merge_adapter(module, spec.adapter))
        if spec.weights:
            raise QuantbentoError(
                f"`weights` are for a module; {spec.factory!r} returns the path of a folder, which has its own"
            )
        folder = self.folder()
        if task.auto_class is None:
            raise QuantbentoError(
                f"task {task.name!r} takes its model from a factory that returns a torch module, or from an ONNX file; "
                f"a folder in hub format serves {', '.join(_with_folders())}"
            )
        if task.on_disk:
            space = workspace or Path(tempfile.mkdtemp(prefix="quantbento-"))
            copy, dtype = in_16_bit(folder, spec.adapter, spec.trust_remote_code, space)
            read = partial(read_folder, auto_class=auto_class_of(copy), trust_remote_code=spec.trust_remote_code)
            return SourceModel(folder=copy, trust_remote_code=spec.trust_remote_code, dtype=dtype, read=read)
        module = read_folder(folder, task.auto_class, spec.trust_remote_code)
        return SourceModel(merge_adapter(module, spec.adapter), folder, trust_remote_code=spec.trust_remote_code)

    @cached_property
    def _made(self) -> Any:
        """What the factory returns."""
        assert self.spec.factory is not None
        return user_code.call(self.spec.factory)


def _with_folders() -> list[str]:
    return [name for name in registry.names("task") if registry.task(name).auto_class]
