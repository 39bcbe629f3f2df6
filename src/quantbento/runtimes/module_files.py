"""PyTorch models as files: a pickled module, a TorchScript file, or a `torch.export` program.

Unpickling runs code: load from the store, which verifies first.
"""

from __future__ import annotations

import pickle
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MODEL = "model.pkl"
PICKLABLE = "saved_model.pkl"  # the name that bentoml.picklable_model looks for
TORCHSCRIPT = "model.pt"
EXPORTED = "model.pt2"


def save(module: torch.nn.Module, folder: Path) -> None:
    """Writes a module so that it loads where its source code is not installed.

    Classes from packages are pickled by reference, classes from the user's own project by value: an image that
    serves the model holds the packages, not the project. TorchScript and exported programs have files of their own.
    No file names a folder of the machine it was made on.
    """
    import torch

    from quantbento.core.pickling import dump

    if isinstance(module, torch.jit.ScriptModule):
        _save_torchscript(module, folder / TORCHSCRIPT)
    elif (program := program_of(module)) is not None:
        _forget_origin(program)
        torch.export.save(program, folder / EXPORTED)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dump(module, folder / MODEL, classes={type(m) for m in module.modules()})


def read(folder: Path, device: str = "cpu") -> torch.nn.Module:
    """The module that `save` wrote to the folder, its weights on a device."""
    import torch

    if (folder / TORCHSCRIPT).is_file():
        return torch.jit.load(folder / TORCHSCRIPT, map_location=device)
    if (folder / EXPORTED).is_file():
        program = torch.export.load(folder / EXPORTED)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return exported_module(program)
    path = folder / (PICKLABLE if (folder / PICKLABLE).is_file() else MODEL)
    with path.open("rb") as file, warnings.catch_warnings():
        # Quantized tensors are rebuilt by a deprecated path inside torch, which we cannot change.
        warnings.simplefilter("ignore")
        module = pickle.load(file)
    return module if device == "cpu" else module.to(device)


def _save_torchscript(module: torch.jit.ScriptModule, path: Path) -> None:
    """Leaves out the entries for debuggers, which name the source files."""
    import torch

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / path.name
        torch.jit.save(module, whole)
        with zipfile.ZipFile(whole) as read, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as written:
            for entry in read.infolist():
                if not entry.filename.endswith(".debug_pkl"):
                    written.writestr(zipfile.ZipInfo(entry.filename), read.read(entry))


def _forget_origin(program: torch.export.ExportedProgram) -> None:
    """Removes the inputs that it was exported with, which may be somebody's data, and where its code stood."""
    program.example_inputs = None
    for module in program.graph_module.modules():
        for node in module.graph.nodes if hasattr(module, "graph") else ():
            node.meta.pop("stack_trace", None)


def program_of(module: torch.nn.Module) -> torch.export.ExportedProgram | None:
    """The program that `exported_module` made a module of; None of any other module."""
    return getattr(module, "program", None) if type(module).__name__ == "ExportedModule" else None


def exported_module(program: torch.export.ExportedProgram) -> torch.nn.Module:
    """A `torch.export` program as a module that takes its inputs by name; `input_names` are those.

    Arguments that were no tensors when it was exported are part of it, and keep their value.
    """
    import torch
    from torch.utils import _pytree as pytree

    arguments = [spec.arg for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    tensors = [argument.name for argument in arguments if type(argument).__name__ == "TensorArgument"]

    class ExportedModule(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.program, self.input_names, self.model = program, tensors, program.module()

        def forward(self, **inputs: Any) -> Any:
            values = [inputs[a.name] if a.name in inputs else getattr(a, "value", None) for a in arguments]
            positional, by_name = pytree.tree_unflatten(values, program.call_spec.in_spec)
            return self.model(*positional, **by_name)

        def train(self, mode: bool = True) -> Any:
            return self  # the mode that it was exported in is part of it

    return ExportedModule()
