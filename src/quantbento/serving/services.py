"""The services of a `service.py`, by the task each is for: the current folder's own, then quantbento's."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.project_files import SERVICE
from quantbento.serving.served import SERVICES
from quantbento.serving.service import ModelService


@dataclass(frozen=True)
class FoundService:
    """A service for a task.

    Attributes:
        folder: holds the `service.py` that defines it.
        name: its name there.
        service: BentoML's.
    """

    folder: Path
    name: str
    service: Any

    @property
    def target(self) -> str:
        """What `bentoml serve` and build files call it, in its folder."""
        return f"{SERVICE.stem}:{self.name}"

    @property
    def settings(self) -> Any:
        """The class of its settings."""
        return type(self.service.inner.served.settings)


def service_for(task: str) -> FoundService:
    """The service for a task: the current folder's, else quantbento's.

    Raises:
        QuantbentoError: neither has one, or the current folder's `service.py` cannot be imported.
    """
    here, own = Path.cwd(), project_files.folder()
    folders = [here, own] if (here / SERVICE).is_file() and here != own else [own]
    for folder in folders:
        services = _services(folder)
        if task in services:
            return FoundService(folder, *services[task])
    where = f"in {here / SERVICE}" if (here / SERVICE).is_file() else f"here, and there is no {SERVICE} in {here}"
    raise QuantbentoError(
        f"no service for the task {task!r} {where}. A service of a few lines serves it: see the docstring of "
        "quantbento.serving.service.BatchService"
    )


def _services(folder: Path) -> dict[str, tuple[str, Any]]:
    """Name and service by task; of two for one task, the first."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in _names(folder / SERVICE).items():
        inner = getattr(value, "inner", None)
        if isinstance(inner, type) and issubclass(inner, ModelService):
            found.setdefault(inner.served.task_name, (name, value))
    return found


def _names(file: Path) -> dict[str, Any]:
    """What a `service.py` defines. Nothing of it stays: another may be imported next, under the same name."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, services = sys.modules.get(file.stem), dict(SERVICES)
    sys.modules[file.stem] = module
    try:
        with _importable(file.parent):
            spec.loader.exec_module(module)
    except Exception as error:
        raise QuantbentoError(f"{file} cannot be imported: {summary(error)}") from error
    finally:
        SERVICES.clear()
        SERVICES.update(services)
        if before is None:
            del sys.modules[file.stem]
        else:
            sys.modules[file.stem] = before
    return vars(module)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
