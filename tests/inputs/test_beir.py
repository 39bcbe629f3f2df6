"""Retrieval files in BEIR's layout."""

from __future__ import annotations

import json

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.beir import identity
from quantbento.inputs.judged import few, judged
from quantbento.recipe import Evaluation

CORPUS = [{"_id": "d1", "title": "Cats", "text": "purr"}, {"_id": "d2", "text": "bark"}, {"_id": 3, "text": "moo"}]
QUERIES = [{"_id": "q1", "text": "who barks", "kind": "a"}, {"_id": "q2", "text": "unjudged", "kind": "b"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td1\t0\nq1\t3\t1\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qrels").mkdir()
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def read(folder, **settings):
    return judged(Evaluation(kind="retrieval", path=folder, **settings), ("text",), ())


def test_judged_queries_come_first_then_all_documents(folder):
    samples = read(folder, query_prompt="q: ", document_prompt="d: ", group="kind")
    assert samples.inputs == ["q: who barks", "d: Cats purr", "d: bark", "d: moo"]
    assert samples.units.relevance == [{1: 2.0, 2: 1.0}]
    assert (samples.units.queries, samples.units.documents, samples.groups) == (1, ["d1", "d2", "3"], ["a"])


def test_a_rehearsal_keeps_relevant_documents(folder):
    cut = few(read(folder), 1)
    assert cut.inputs == ["who barks", "Cats purr", "bark", "moo"]
    (folder / "qrels" / "test.tsv").write_text("q1\t3\t1\n")
    cut = few(read(folder), 1)
    assert cut.inputs == ["who barks", "Cats purr", "moo"]
    assert (cut.units.relevance, cut.units.documents) == ([{1: 1.0}], ["d1", "3"])


def test_another_split_and_a_file_without_one(folder):
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    assert read(folder, split="dev").units.queries == 1
    with pytest.raises(QuantbentoError, match=r"lacks qrels/test.tsv \(or qrels.tsv\)"):
        read(folder)
    (folder / "qrels" / "dev.tsv").rename(folder / "qrels.tsv")
    assert read(folder).units.queries == 1


def test_every_file_is_part_of_the_identity(folder):
    spec = Evaluation(kind="retrieval", path=folder)
    seen = {identity(spec)["sha256"]}
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        seen.add(identity(spec)["sha256"])
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("corpus.jsonl", '{"_id": "d1"}\n', "corpus.jsonl line 1 must be a mapping with '_id' and 'text'"),
        ("corpus.jsonl", "{\n", "corpus.jsonl line 1 is not JSON"),
        ("corpus.jsonl", '{"_id": "d", "text": "a"}\n' * 2, "line 2: the _id 'd' is there twice"),
        ("corpus.jsonl", "", "corpus.jsonl is empty"),
        ("qrels/test.tsv", "q1\td9\t1\n", "line 1: corpus.jsonl has no document 'd9'"),
        ("qrels/test.tsv", "q9\td1\t1\n", "line 1: queries.jsonl has no query 'q9'"),
        ("qrels/test.tsv", "a b c\nq1 d1 1\n", "line 2 must be query, document and relevance, divided by tabs"),
        ("qrels/test.tsv", "q1\td1\t0\n", "no query of queries.jsonl with a relevant document"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, name, content, told):
    (folder / name).write_text(content)
    with pytest.raises(QuantbentoError, match=told):
        read(folder)


def test_too_few_queries_are_an_error(folder):
    with pytest.raises(QuantbentoError, match="has 1 judged queries; count asks for 2"):
        read(folder, count=2)
