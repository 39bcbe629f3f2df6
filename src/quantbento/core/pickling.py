"""cloudpickle for objects that must load where the user's own project is not installed.

Code pickled by value carries the path of its source file, which shows others where the project lies on the machine
that made the pickle. Here that path becomes the file's name as it is imported, `examples/digits.py`: enough for a
traceback, and the same on every machine.
"""

from __future__ import annotations

import contextlib
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

LOADED_BY_TRANSFORMERS = ("transformers.configuration_utils", "transformers.modeling_utils")


def dump(value: Any, path: Path, classes: Iterable[Any]) -> None:
    """Pickles `value`. Project modules that define one of `classes` (classes or functions) are pickled by value."""
    with _by_value(_project_modules(classes)), path.open("wb") as file:
        _Pickler(file).dump(value)


class _Pickler(cloudpickle.Pickler):
    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._modules = _modules_by_file()

    def reducer_override(self, value: Any) -> Any:
        """How to rebuild a value; `NotImplemented` where pickle's own way is right."""
        if isinstance(value, CodeType):  # nested functions' code comes here too
            return self.dispatch_table[CodeType](value.replace(co_filename=self._name(value.co_filename)))
        # Lazy modules (Transformers has them) have their own type and would pickle their file's path, not their name.
        if type(value) is ModuleType or (isinstance(value, ModuleType) and sys.modules.get(value.__name__) is value):
            rebuild, arguments = self.dispatch_table[ModuleType](value)
            for attributes in arguments[1:]:  # a module by value
                self._without_paths(attributes)
            return rebuild, arguments
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.qscheme):
            # A qscheme knows its name but not its module, so pickle would search every loaded module for it. That
            # includes Transformers' aliases of image processors, which import torchvision on any attribute access.
            return getattr, (torch, str(value).rpartition(".")[2])
        convolutions = sys.modules.get("torch.ao.nn.quantized.modules.conv")
        if convolutions is not None and isinstance(value, convolutions._ConvNd):
            # Its state is for a module that was set up, which pickle would not do; any weights do until then.
            return type(value), (value.in_channels, value.out_channels, value.kernel_size), value.__getstate__()
        reduced = super().reducer_override(value)
        if isinstance(value, FunctionType) and reduced is not NotImplemented:
            _, (_, module_globals, *_), (_, state), *_ = reduced
            self._without_paths(module_globals)
            self._without_paths(state["__globals__"])
        if any(kind.__module__ in LOADED_BY_TRANSFORMERS for kind in type(value).__mro__):
            return _without_folder(value.__reduce_ex__(self.proto))
        return reduced

    def _without_paths(self, namespace: dict[str, Any]) -> None:
        """Changes a module's attributes or a function's globals: cloudpickle's copies, not the live ones."""
        if isinstance(file := namespace.get("__file__"), str):
            namespace["__file__"] = self._name(file)
        if "__path__" in namespace:
            namespace["__path__"] = []  # a relative import only asks if it exists: that marks a package
        namespace.update(dict.fromkeys({"__cached__", "__loader__", "__spec__"} & namespace.keys()))

    def _name(self, file: str) -> str:
        """What to call a source file: as it is imported, or without its folder. `<string>` stays."""
        path = Path(file)
        if not path.is_absolute():
            return file
        if (module := self._modules.get(file)) is None:
            return path.name
        return module.replace(".", "/") + ("/__init__.py" if path.stem == "__init__" else path.suffix)


def _without_folder(reduced: Any) -> Any:
    """A Transformers model or configuration without the folder it was loaded from, which it never reads again. The
    name of a model on the hub stays."""
    if len(reduced) < 3 or not isinstance(state := reduced[2], dict):
        return reduced  # a class with its own way to pickle
    held = {name: state.get(name) for name in ("name_or_path", "_name_or_path")}
    folders = [name for name, value in held.items() if isinstance(value, str) and Path(value).is_absolute()]
    return *reduced[:2], {**state, **dict.fromkeys(folders, "")}, *reduced[3:]


def _modules_by_file() -> dict[str, str]:
    """The name of every loaded module, by its file."""
    names = {}
    for attributes in [vars(m) for m in list(sys.modules.values()) if isinstance(m, ModuleType)]:
        module, file = attributes.get("__name__"), attributes.get("__file__")
        if isinstance(module, str) and isinstance(file, str) and module != "__main__":
            names[file] = module
    return names


def _project_modules(definitions: Iterable[Any]) -> list[ModuleType]:
    """The loaded modules of every top-level package that defines one of these and is not an installed one."""
    tops = {d.__module__.partition(".")[0] for d in definitions if getattr(d, "__module__", None)}
    local = {top for top in tops if _is_project(sys.modules.get(top))}
    return [m for name, m in list(sys.modules.items()) if name.partition(".")[0] in local and isinstance(m, ModuleType)]


def _is_project(module: ModuleType | None) -> bool:
    if module is None or module.__name__ in ("quantbento", "__main__", "builtins"):
        return False  # __main__ is always pickled by value; quantbento is installed wherever it serves
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    paths = [sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed = [Path(p).resolve() for p in [*paths, *site.getsitepackages(), site.getusersitepackages()]]
    resolved = [Path(p).resolve() for p in places if p]
    return bool(resolved) and not any(r.is_relative_to(i) for r in resolved for i in installed)


@contextlib.contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    before = cloudpickle.list_registry_pickle_by_value()
    added = [m for m in modules if m.__name__ not in before]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)
