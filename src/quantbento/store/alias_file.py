"""The file of a model's aliases, in the store's own folder: the version each points to, and its whole history.

History only grows. The version an alias pointed to before follows from it, as with undo: a rollback takes back the
last promotion that was not taken back yet.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from quantbento.core.errors import StoreError
from quantbento.store import atomic

SCHEMA_VERSION = 1
PROMOTED, ROLLED_BACK, RETIRED = "promoted", "rolled back", "retired"


class DanglingAlias(StoreError):
    """An alias points to a version that is not in the store."""

    def __init__(self, name: str, alias: str, version: str) -> None:
        super().__init__(
            f"{name}:{alias} stands for {name}:{version}, which is not in the store. "
            f"Move it: {how_to_move(name, alias)}"
        )


@dataclass(frozen=True)
class Event:
    """From `time` (UTC, ISO 8601) on, the alias points to `version`; or no longer does, if it was retired. `action`
    says which."""

    version: str
    time: str
    action: str
    reason: str | None = None
    forced: bool = False  # promoted though a gate failed


def current(name: str) -> dict[str, str]:
    """The version that each alias of a model points to; retired aliases are left out."""
    return {alias: events[-1].version for alias, events in read(name).items() if events[-1].action != RETIRED}


def read(name: str) -> dict[str, list[Event]]:
    """Each alias of a model with its history, oldest first; empty if the model never had an alias.

    Raises:
        StoreError: the file is damaged, or comes from a newer quantbento.
    """
    path = _path(name)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{path}, the aliases of {name!r}, cannot be read: {error.strerror}") from error
    try:
        document = json.loads(raw)
        schema = int(document["schema_version"])
        if schema <= SCHEMA_VERSION:
            return {alias: _events(entry) for alias, entry in document["aliases"].items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise StoreError(
            f"{path}, the aliases of {name!r}, is damaged. Restore it, or move it away and promote again"
        ) from None
    raise StoreError(
        f"{path}, the aliases of {name!r}, has schema_version {schema}, this quantbento reads up to "
        f"{SCHEMA_VERSION}. Run: pip install --upgrade quantbento"
    )


def append(name: str, alias: str, event: Event, staged: Path) -> None:
    """Adds to an alias's history. The caller holds the store's lock, and passes the `staged` folder it got with it."""
    history = read(name)
    history.setdefault(alias, []).append(event)
    aliases = {
        alias: {"version": events[-1].version, "history": [asdict(e) for e in events]}
        for alias, events in sorted(history.items())
    }
    document = {"schema_version": SCHEMA_VERSION, "name": name, "aliases": aliases}
    atomic.write(_path(name), (json.dumps(document, indent=2) + "\n").encode(), staged)


def before(events: list[Event]) -> list[str]:
    """The versions that a rollback may go to, nearest first."""
    standing: list[str] = []
    for event in events:
        if event.action == ROLLED_BACK:
            while standing and standing[-1] != event.version:
                standing.pop()
        elif not standing or standing[-1] != event.version:
            standing.append(event.version)
    return standing[-2::-1]


def names() -> list[str]:
    """The models that have aliases."""
    return sorted(path.stem for path in _folder().glob("*.json"))


def how_to_move(name: str, alias: str) -> str:
    ways = ("rollback {0}", "promote {0}:<version>", "retire {0}")
    return ", or ".join(f"quantbento {way.format(name)} --as {alias}" for way in ways)


def _events(entry: dict) -> list[Event]:
    events = [Event(**event) for event in entry["history"]]
    if events[-1].version != entry["version"]:
        raise ValueError("the history ends elsewhere")
    return events


def _path(name: str) -> Path:
    return _folder() / f"{name}.json"


def _folder() -> Path:
    return atomic.own_path() / "aliases"
