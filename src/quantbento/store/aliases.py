"""Names that move from version to version: `name:production` means the version last promoted to it.

`store.find` resolves them. An alias belongs to a model's name. A version with the same name would win over it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from quantbento import store
from quantbento.core.errors import StoreError, did_you_mean
from quantbento.recipe import TAG_LENGTH, TAG_PATTERN
from quantbento.store import alias_file, judged, labels
from quantbento.store.alias_file import PROMOTED, RETIRED, ROLLED_BACK, Event
from quantbento.store.atomic import changing

RESERVED = "latest"


@dataclass(frozen=True)
class Moved:
    """An alias, and the tags it pointed to before and after. `before` is None where the alias is new or was retired."""

    alias: str
    before: str | None
    after: str
    skipped: tuple[str, ...] = ()  # tags that a rollback skipped: deleted meanwhile


def promote(tag: str, alias: str, reason: str | None = None, force: bool = False) -> Moved:
    """Points an alias to a stored version from now on.

    Args:
        tag: `name:version`, `name` for the latest, or `name:alias` for the version of another alias.
        alias: `production`, `1.2.0`.
        reason: kept in the history.
        force: promote even if a gate failed, or if it was not judged.

    Raises:
        StoreError: the alias cannot be one, the model is damaged, failed a gate or was not judged.
    """
    model = store.find(tag)
    name, _, version = model.tag.partition(":")
    _check(alias, name)
    model.verify()
    if judged.is_unjudged(model.manifest) and not force:
        raise StoreError(
            f"{model.tag} was not promoted: {judged.how_to_judge(model.tag)}. "
            f"Promote it all the same: quantbento promote {model.tag} --as {alias} --force"
        )
    failed = failed_gates(model)
    if failed and not force:
        raise StoreError(
            f"{model.tag} was not promoted, it failed its gates: {'; '.join(failed)}. "
            f"Promote it all the same: quantbento promote {model.tag} --as {alias} --force"
        )
    with changing(f"{name}:{alias} could not be set") as staged:
        store.find(model.tag)  # it may have been deleted while it was verified
        before = alias_file.current(name).get(alias)
        alias_file.append(name, alias, Event(version, _now(), PROMOTED, reason, forced=bool(failed)), staged)
    return Moved(f"{name}:{alias}", before and f"{name}:{before}", model.tag)


def rollback(name: str, alias: str, reason: str | None = None) -> Moved:
    """Points an alias back to its previous version; twice goes two steps back. Deleted versions are skipped.

    Raises:
        StoreError: no such alias, or nothing is left before it.
    """
    name = _name(name)
    with changing(f"{name}:{alias} could not be rolled back") as staged:
        events = history(name, alias)[alias]
        stored = {model.tag for model in store.models(name)}
        now = f"{name}:{events[-1].version}"
        if events[-1].action == RETIRED and now in stored:
            alias_file.append(name, alias, Event(events[-1].version, _now(), ROLLED_BACK, reason), staged)
            return Moved(f"{name}:{alias}", None, now)
        skipped: list[str] = []
        for tag in (f"{name}:{version}" for version in alias_file.before(events)):
            if tag in stored and tag != now:
                alias_file.append(name, alias, Event(tag.partition(":")[2], _now(), ROLLED_BACK, reason), staged)
                return Moved(f"{name}:{alias}", now, tag, tuple(skipped))
            if tag not in stored and tag not in skipped:
                skipped.append(tag)
    gone = f" but what was deleted ({', '.join(skipped)})" if skipped else ""
    raise StoreError(
        f"{name}:{alias} stood for nothing before {now}{gone}. "
        f"Promote another: quantbento promote {name}:<version> --as {alias}"
    )


def retire(name: str, alias: str, reason: str | None = None) -> str:
    """Lets an alias point to nothing, and returns the tag it pointed to. The history stays, and a rollback undoes it.

    Raises:
        StoreError: no such alias, or it is retired already.
    """
    name = _name(name)
    with changing(f"{name}:{alias} could not be retired") as staged:
        last = history(name, alias)[alias][-1]
        if last.action == RETIRED:
            raise StoreError(f"{name}:{alias} was retired already, at {last.time}")
        alias_file.append(name, alias, Event(last.version, _now(), RETIRED, reason), staged)
    return f"{name}:{last.version}"


def history(name: str, alias: str | None = None) -> dict[str, list[Event]]:
    """Each alias of a model, or only the one named, with its whole history, oldest first.

    Raises:
        StoreError: no such model or alias, or its file is damaged.
    """
    name = _name(name)
    found = alias_file.read(name) if name in alias_file.names() else {}
    if not found:
        store.find(name)  # raises if there is no such model
    if alias is None:
        return found
    if alias not in found:
        known = f" (it has: {', '.join(found)})" if found else " (it has none)"
        raise StoreError(
            f"no alias {alias!r} of {name!r}{did_you_mean(alias, found)}{known}. "
            f"Set it with: quantbento promote {name} --as {alias}"
        )
    return {alias: found[alias]}


def problems() -> list[str]:
    """What is wrong with any alias: its version is gone, or the file of a model's aliases cannot be read."""
    found: list[str] = []
    stored = {model.tag for model in store.models()}
    for name in alias_file.names():
        try:
            aliases = alias_file.current(name)
        except StoreError as error:
            found.append(str(error))
            continue
        for alias, version in aliases.items():
            if f"{name}:{version}" not in stored:
                found.append(str(alias_file.DanglingAlias(name, alias, version)))
    return found


def _name(given: str) -> str:
    name, colon, _ = given.lower().partition(":")
    if colon:
        raise StoreError(f"{given!r} is a tag; name the model only: {name!r}")
    return name


def _check(alias: str, name: str) -> None:
    problem = None
    if alias == RESERVED:
        problem = "that is the newest version"
    elif not re.fullmatch(TAG_PATTERN, alias) or len(alias) > TAG_LENGTH:
        problem = (
            "allowed are lower-case letters, digits, '.', '_' and '-', a letter or digit at both ends, "
            f"at most {TAG_LENGTH} characters"
        )
    elif f"{name}:{alias}" in {model.tag for model in store.models(name)}:
        problem = f"{name}:{alias} is a stored version"
    if problem:
        raise StoreError(f"{alias!r} cannot be an alias: {problem}. Take another, for example: --as production")


def failed_gates(model: store.StoredModel) -> list[str]:
    """Why a model that was stored anyway did not pass; empty if it passed."""
    from quantbento.recipe.gates import GateResult

    variant = model.manifest.get("variant") or {}
    if judged.is_unjudged(model.manifest):
        return [judged.how_to_judge(model.tag)]
    if labels.read(model).get("passed") != "false" and variant.get("passed") is not False:
        return []
    failed = [str(GateResult(**gate)) for gate in variant.get("gates", []) if not gate["passed"]]
    return failed or ["it was stored as not passed"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
