"""Retrieval data in BEIR's layout (https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset): a folder with

- `corpus.jsonl`: `{"_id": ..., "title": ..., "text": ...}` per line; the title may be missing
- `queries.jsonl`: `{"_id": ..., "text": ...}` per line
- `qrels/<split>.tsv` or `qrels.tsv`: a heading, then query, document and relevance, divided by tabs
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.folders import hash_files
from quantbento.recipe import Evaluation
from quantbento.tasks.source import Judgements, SampleSet

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"


def read(spec: Evaluation) -> SampleSet:
    """The texts of the queries that have a relevant document, then those of all documents. `count` is a number of
    queries.

    Raises:
        QuantbentoError: a file is missing or is not what it must be, or there are fewer queries than `count`.
    """
    corpus_file, queries_file, qrels_file = _files(spec)
    corpus = _by_id(corpus_file)
    every = _by_id(queries_file)
    places = {name: place for place, name in enumerate(corpus)}
    relevance = _relevance(qrels_file, every.keys(), places)
    chosen = [name for name in every if relevance.get(name)]
    if not chosen:
        raise QuantbentoError(f"{qrels_file} holds no query of {queries_file.name} with a relevant document")
    if spec.count is not None:
        if len(chosen) < spec.count:
            raise QuantbentoError(f"{spec.path} has {len(chosen)} judged queries; count asks for {spec.count}")
        chosen = chosen[: spec.count]
    groups = None
    if spec.group is not None:
        if missing := [name for name in chosen if spec.group not in every[name]]:
            raise QuantbentoError(f"{queries_file}: query {missing[0]!r} has no {spec.group!r} to group by")
        groups = [str(every[name][spec.group]) for name in chosen]
    queries = [spec.query_prompt + every[name]["text"] for name in chosen]
    documents = [spec.document_prompt + f"{row.get('title') or ''} {row['text']}".strip() for row in corpus.values()]
    judged = Judgements(len(chosen), [relevance[name] for name in chosen], list(corpus))
    return SampleSet(queries + documents, units=judged, groups=groups)


def identity(spec: Evaluation) -> dict[str, Any]:
    """The hash of the three files.

    Raises:
        QuantbentoError: one is missing.
    """
    assert spec.path is not None
    return {"sha256": hash_files(_files(spec), spec.path)}


def _files(spec: Evaluation) -> list[Path]:
    folder = spec.path
    assert folder is not None
    qrels = [folder / "qrels" / f"{spec.split}.tsv", folder / "qrels.tsv"]
    there = next((path for path in qrels if path.is_file()), None)
    missing = [name for name in (CORPUS, QUERIES) if not (folder / name).is_file()]
    missing += [] if there else [f"qrels/{spec.split}.tsv (or qrels.tsv)"]
    if missing or there is None:
        raise QuantbentoError(f"{folder} lacks {', '.join(missing)}, of BEIR's layout")
    return [folder / CORPUS, folder / QUERIES, there]


def _by_id(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise QuantbentoError(f"{path} line {number} is not JSON: {error}") from None
            if not isinstance(row, dict) or "_id" not in row or not isinstance(row.get("text"), str):
                raise QuantbentoError(f"{path} line {number} must be a mapping with '_id' and 'text'")
            if found.setdefault(str(row["_id"]), row) is not row:
                raise QuantbentoError(f"{path} line {number}: the _id {row['_id']!r} is there twice")
    if not found:
        raise QuantbentoError(f"{path} is empty")
    return found


def _relevance(path: Path, queries: Any, places: dict[str, int]) -> dict[str, dict[int, float]]:
    """For each query, the relevance of documents by their place, where it is more than zero."""
    found: dict[str, dict[int, float]] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if number == 1 and (not row or not _is_number(row[-1])):
                continue  # the heading
            if len(row) != 3 or not _is_number(row[2]):
                raise QuantbentoError(f"{path} line {number} must be query, document and relevance, divided by tabs")
            query, document, relevance = row[0], row[1], float(row[2])
            if query not in queries:
                raise QuantbentoError(f"{path} line {number}: {QUERIES} has no query {query!r}")
            if document not in places:
                raise QuantbentoError(f"{path} line {number}: {CORPUS} has no document {document!r}")
            if relevance > 0:
                found.setdefault(query, {})[places[document]] = relevance
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
