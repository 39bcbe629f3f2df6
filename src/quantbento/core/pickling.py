"""cloudpickle for objects that must load where the user's own project is not installed."""

from __future__ import annotations

import contextlib
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle


def dump(value: Any, path: Path, classes: Iterable[Any]) -> None:
    """Pickles `value`; project modules that define one of `classes` (classes or functions) go by value."""
    with _by_value(_project_modules(classes)), path.open("wb") as file:
        _Pickler(file).dump(value)


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        """A `torch.qscheme` says its name but not its module, which pickle then looks for in every loaded module,
        Transformers' aliases of image processors included; those import torchvision when asked for anything."""
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.qscheme):
            return getattr, (torch, str(value).rpartition(".")[2])
        return super().reducer_override(value)


def _project_modules(definitions: Iterable[Any]) -> list[ModuleType]:
    """Loaded modules of every top-level package, outside the installed ones, that defines one of these."""
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
