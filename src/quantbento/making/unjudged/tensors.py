"""The tensors of a checkpoint in hub format, read one at a time."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import summary
from quantbento.inputs.checkpoint import INDEX

if TYPE_CHECKING:
    import torch


class CheckpointTensors:
    """The safetensors files of a folder. A header is read when the folder is opened, and a tensor when it is asked for.

    Attributes:
        files: the path of the file that holds each tensor, by the tensor's name.
        problems: files that cannot be read, tensors that two files hold, and where the index says something else.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self.folder, self.files, self.problems = folder, dict[str, Path](), list[str]()
        for path in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(path, framework="pt") as file:
                    names = list(file.keys())
            except Exception as error:  # of a damaged header, the package raises its own kind
                self.problems.append(f"{path.name} cannot be read: {summary(error)}")
                continue
            for name in names:
                if name in self.files:
                    self.problems.append(f"{name} is in {self.files[name].name} and in {path.name}")
                self.files[name] = path
        if not self.files and not self.problems:
            self.problems.append(f"there is no safetensors file with a tensor in {folder.name}")
        self.problems += self._index_problems()

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def get(self, name: str) -> torch.Tensor:
        """A tensor, in memory."""
        from safetensors import safe_open

        with safe_open(self.files[name], framework="pt") as file:
            return file.get_tensor(name)

    def below(self, layer: str) -> list[str]:
        """The names of a layer's tensors without the layer's own name: `weight_packed`, `bias`."""
        return self._parts.get(layer, [])

    @cached_property
    def _parts(self) -> dict[str, list[str]]:
        """The last parts of the tensors' names, by what stands before: a model may have 100,000 tensors."""
        found: dict[str, list[str]] = {}
        for name in self.files:
            layer, _, part = name.rpartition(".")
            found.setdefault(layer, []).append(part)
        return found

    def _index_problems(self) -> list[str]:
        """Where the index of a checkpoint of several files and the files themselves do not agree."""
        shards = {path.name for path in self.files.values()}
        path = self.folder / INDEX
        if not path.is_file():
            if len(shards) < 2:
                return []
            return [f"{len(shards)} safetensors files have no {INDEX}, without which loaders find one file at most"]
        try:
            places: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        except (ValueError, KeyError, TypeError) as error:
            return [f"{INDEX} cannot be read: {summary(error)}"]
        found = [f"{INDEX} names {name}, which is in no file" for name in places if name not in self.files]
        found += [f"{INDEX} lacks {name} of {file.name}" for name, file in self.files.items() if name not in places]
        found += [
            f"{INDEX} has {name} in {shard}; it is in {self.files[name].name}"
            for name, shard in places.items()
            if name in self.files and self.files[name].name != shard
        ]
        return found
