"""NDCG is scikit-learn's; recall and reciprocal rank are worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.retrieval import Retrieval
from quantbento.tasks.source import Judgements, SampleSet

RELEVANCE = [{3: 1.0}, {0: 2.0, 25: 1.0}, {i: 1.0 for i in range(12)}]


@pytest.fixture
def retrieval():
    judged = Judgements(3, RELEVANCE, [f"d{i}" for i in range(30)])
    return Retrieval(SampleSet([f"query {i}" for i in range(3)] + ["document"] * 30, units=judged), judged)


def ranked(*orders) -> Outcome:
    """Embeddings by which each query ranks the documents as given, then by their place."""
    documents = np.zeros((30, 4))
    for axis, order in enumerate(orders):
        for rank, place in enumerate(order):
            documents[place, axis] = 1 - rank / 100
    documents[:, 3] = np.sqrt(np.maximum(0, 3 - (documents**2).sum(1)))
    return Outcome({"embedding": np.concatenate([np.eye(3, 4), documents]).astype(np.float32)})


def test_figures_are_those_of_the_ranking(retrieval):
    orders = ([5, 3], [25, 9, 0], list(range(3, 30)))
    found = retrieval.measure(ranked(*orders), ranked(*orders))
    scores = [[-(order.index(i) if i in order else 99) for i in range(30)] for order in orders]
    truth = [[own.get(i, 0) for i in range(30)] for own in RELEVANCE]
    assert found["ndcg_10"] == pytest.approx(ndcg_score(truth, scores, k=10))
    assert found["mrr_10"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["recall_10"] == pytest.approx((1 + 1 + 9 / 12) / 3)
    only = retrieval.resampler(ranked(*orders), ranked(*orders))(np.array([0, 0]))
    assert (only["mrr_10"], only["recall_10"]) == (0.5, 1)


def test_what_moved_is_the_share_of_other_documents(retrieval):
    first, second = ([*range(10)], [*range(10)], [*range(10)]), ([*range(10)], [*range(5, 15)], [*range(10, 20)])
    assert retrieval.distances(ranked(*first), ranked(*second)).tolist() == [0, 0.5, 1]
    item, answer = retrieval.shown(1, ranked(*second))
    assert item == "query 1"
    assert answer == [f"d{i}" for i in range(5, 15)]


def test_fewer_documents_than_ten():
    judged = Judgements(1, [{1: 1.0}], ["a", "b"])
    rows = {"embedding": np.array([[1, 0], [1, 0], [0, 1]], np.float32)}
    found = Retrieval(SampleSet(["q", "a", "b"], units=judged), judged).measure(Outcome(rows), Outcome(rows))
    assert found == pytest.approx({"ndcg_10": 1 / np.log2(3), "recall_10": 1, "mrr_10": 0.5})
