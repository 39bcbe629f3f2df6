"""The reports of several machines, each of some variants of one recipe, as the report that one run would have written.

Speeds are never compared across machines: each variant keeps its speedup over the baseline that took turns with it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, one_of
from quantbento.judging.report.document import REPORT, Document, Row, read
from quantbento.judging.report.writing import replace_file
from quantbento.judging.rows import is_unjudged, make_output_folder

BESIDE = ("sensitivity-*.json", "bench.json", "ablation.json")
MACHINES = "machines"  # in `environment`, where they differ
WANTED = re.compile(r" --variant (?:'[^']*'|\S+)")


@dataclass(frozen=True)
class Merged:
    """The written report, its content, and what a person should know of it."""

    path: Path
    report: Row
    notes: list[str] = field(default_factory=list)


def merge(folders: Sequence[Path], output: Path) -> Merged:
    """Writes `<output>/<recipe>/report.json`, and beside it what other commands wrote beside the reports.

    The baseline and the references are the first report's that has them; references that only later ones have come
    after them. Rows are in the recipe's order. Of a variant that several reports have, the first that was judged is
    taken, else the first that could be made.

    Args:
        folders: each with a `report.json`, or with one in a folder of its own, as `save --output` writes it.
        output: the folder for reports.

    Raises:
        QuantbentoError: lists every report that is missing or of another recipe, model or samples.
    """
    documents, problems = _read(folders)
    if not problems:
        problems = [told for other in documents[1:] for told in _differences(documents[0], other)]
    place = output / documents[0].recipe / REPORT if documents else output
    if any(place.resolve() == document.path.resolve() for document in documents):
        problems.append(f"{place} is one of them, and would be overwritten; name another folder with --output")
    if problems:
        raise QuantbentoError("\n".join(["the reports cannot be merged:", *(f"  - {p}" for p in problems)]))
    report, notes = _merged(documents)
    make_output_folder(place.parent)
    replace_file(place, (json.dumps(report, indent=2) + "\n").encode())
    notes += _copy_beside(documents, place.parent)
    return Merged(place, report, notes)


def add(own: Path, output: Path) -> Merged:
    """Adds a report to that of the same recipe in the folder for reports, if there is one; its own rows win.

    Raises:
        QuantbentoError: the report there is of another model, or of other samples.
    """
    document = read(own)
    place = output / document.recipe / REPORT
    report, notes = document.report, list[str]()
    if place.is_file():
        require_same(document, place)
        report, notes = _merged([document, read(place)])
    make_output_folder(place.parent)
    replace_file(place, (json.dumps(report, indent=2) + "\n").encode())
    return Merged(place, report, notes)


def require_same(document: Document, place: Path) -> None:
    """Raises `QuantbentoError` where the report at `place` is of something else, so that nothing can be added to it."""
    if place.is_file() and (problems := _differences(read(place), document)):
        told = [*problems, "name another folder with --output"]
        raise QuantbentoError("\n".join([f"nothing can be added to {place}:", *(f"  - {p}" for p in told)]))


def _read(folders: Sequence[Path]) -> tuple[list[Document], list[str]]:
    found, problems = [], []
    for folder in folders:
        places = [folder / REPORT] if (folder / REPORT).is_file() else sorted(folder.glob(f"*/{REPORT}"))
        if len(places) != 1:
            several = f"it has those of {one_of(p.parent.name for p in places)}; name one" if places else "none there"
            problems.append(f"{folder}: one {REPORT} is needed, {several}")
            continue
        try:
            document = read(places[0])
        except QuantbentoError as error:
            problems.append(str(error))
            continue
        if not document.report.get("baseline") and not any(map(is_unjudged, document.variants)):
            problems.append(f"{document.path}: it has no baseline: its run did not get that far")
        else:
            found.append(document)
    return found, problems


def _differences(first: Document, other: Document) -> list[str]:
    """Why two reports are not of the same thing."""
    told = [
        f"{other.path}: {what} is {theirs!r}, not {ours!r} as in {first.path}"
        for what, ours, theirs in (("recipe", first.recipe, other.recipe), ("task", first.task, other.task))
        if ours != theirs
    ]
    if told:
        return told
    if not (first.provenance and other.provenance):
        old = first if not first.provenance else other
        return [f"{old.path}: it does not say which model it is of; make it again with: quantbento save"]
    for what, name in (("source", "the model"), ("samples", "the samples")):
        if first.provenance.get(what) != other.provenance.get(what):
            told.append(f"{other.path}: {name} of its recipe are not those of {first.path}")
    if _recipe(first) != _recipe(other):
        changed = [k for k in {**_recipe(first), **_recipe(other)} if _recipe(first).get(k) != _recipe(other).get(k)]
        told.append(f"{other.path}: its recipe differs from that of {first.path} in {', '.join(changed)}")
    return told


def _recipe(document: Document) -> Row:
    """The recipe without its variants, of which each report has some, and what takes one of them apart."""
    return {k: v for k, v in document.provenance["recipe"]["content"].items() if k not in ("variants", "ablate")}


def _merged(documents: Sequence[Document]) -> tuple[Row, list[str]]:
    documents = sorted(documents, key=lambda document: not document.report.get("baseline"))
    first, notes = documents[0], list[str]()
    rows: dict[str, Row] = {}
    for document in documents:
        for row in document.variants:
            known = rows.get(row["name"])
            if known is not None and is_unjudged(known) == is_unjudged(row):
                notes.append(f"{row['name']} is in several reports; the first that could be made is taken")
            if known is None or _worth(row) > _worth(known):
                rows[row["name"]] = row
    order = _order(documents, rows)
    report = first.report | {
        "references": _references(documents, notes),
        "variants": [rows[name] for name in order],
        "environment": _environment(documents, notes),
        "provenance": _provenance(documents, order),
    }
    return report, list(dict.fromkeys(notes))


def _worth(row: Row) -> int:
    return 0 if row.get("error") else 1 if is_unjudged(row) else 2


def _references(documents: Sequence[Document], notes: list[str]) -> list[Row]:
    """Each reference once, in the order of a run: the baseline's runtime first, then the others as they are listed."""
    compared = [document for document in documents if document.report.get("baseline")]
    if not compared:
        return []
    baseline = compared[0].report["baseline"]
    found: dict[str, Row] = {}
    for document in compared:
        own = document.report["baseline"]
        if own["name"] != baseline["name"]:
            names = ", ".join(row["name"] for row in document.variants)
            notes.append(f"{names}: compared with {own['name']}, not with {baseline['name']}")
        for row in document.report.get("references") or ():
            found.setdefault(row["name"], row)
    known = [baseline["runtime"], *registry.names("runtime")]
    return sorted(found.values(), key=lambda row: (*known, row["runtime"]).index(row["runtime"]))


def _order(documents: Sequence[Document], rows: dict[str, Row]) -> list[str]:
    """The variants' names in the recipe's order; a recipe that changed its list may have others, which come last."""
    listed = [name for d in documents for name in d.provenance.get("recipe", {}).get("order") or []]
    return [name for name in dict.fromkeys([*listed, *rows]) if name in rows]


def _environment(documents: Sequence[Document], notes: list[str]) -> Row:
    """The first machine, with all packages; where another one differs, with a line that says so."""
    first, machines = documents[0].environment, list[str]()
    packages = dict(first.get("packages") or {})
    for document in documents[1:]:
        own = document.environment
        theirs = own.get("packages") or {}
        apart = {k: own.get(k) for k in {**first, **own} if k != "packages" and own.get(k) != first.get(k)}
        apart |= {name: version for name, version in theirs.items() if packages.get(name, version) != version}
        packages = theirs | packages
        if apart and document.report.get("baseline"):
            told = "; ".join(f"{name}: {value}" for name, value in apart.items())
            names = ", ".join(row["name"] for row in document.variants)
            machines.append(f"{names}: on another machine ({told})")
    notes += [f"{line}. Its speedups are over the baseline there" for line in machines]
    return first | {"packages": dict(sorted(packages.items()))} | ({MACHINES: machines} if machines else {})


def _provenance(documents: Sequence[Document], order: list[str]) -> Row:
    first = documents[0].provenance
    if not first:
        return {}
    contents = [d.provenance["recipe"]["content"].get("variants", []) for d in documents]
    variants = {variant["name"]: variant for content in contents for variant in content}
    commands = [command for d in documents for command in d.provenance.get("commands") or []]
    if set(first["recipe"].get("order") or ()) <= set(order):  # all of the recipe: one command makes it
        commands = [WANTED.sub("", command) for command in commands]
    content = first["recipe"]["content"] | {"variants": [variants[name] for name in order if name in variants]}
    return first | {
        "created": max(str(d.provenance.get("created")) for d in documents),
        "recipe": {k: v for d in reversed(documents) for k, v in d.provenance["recipe"].items()} | {"content": content},
        "commands": list(dict.fromkeys(commands)),
    }


def _copy_beside(documents: Sequence[Document], folder: Path) -> list[str]:
    """Copies what other commands wrote beside the reports, the first of each name."""
    notes, copied = [], set[str]()
    for document in documents:
        for file in sorted(p for pattern in BESIDE for p in document.path.parent.glob(pattern)):
            if file.name in copied:
                notes.append(f"{file} is left out: an earlier report has one, too")
                continue
            copied.add(file.name)
            try:
                shutil.copyfile(file, folder / file.name)
            except OSError as error:
                raise QuantbentoError(f"{folder / file.name} could not be written: {error.strerror}") from error
    return notes
