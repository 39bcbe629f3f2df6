"""Requests and responses of `/rerank`, in the shapes of Cohere's API and of Text Embeddings Inference.

Both answer with scores from 0 to 1, whatever the model's own activation is.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from bentoml.exceptions import InvalidArgument

from quantbento.tasks.probabilities import sigmoid

QUERY = "How do plants make food?"
PASSAGES = ["Trains leave hourly.", "Leaves turn sunlight, water and air into sugar."]
COHERES = {"Cohere": {"query": QUERY, "documents": PASSAGES, "top_n": 1}}
INFERENCES = {"Text Embeddings Inference": {"query": QUERY, "texts": PASSAGES, "return_text": True}}
# Fields of both APIs that say how to cut texts, or which model answers: here the model's own way, and the one model.
OTHERS = ("model", "priority", "max_tokens_per_doc", "max_chunks_per_doc", "truncate", "truncation_direction")
WITHOUT_EFFECT = {"/rerank": OTHERS, "/v2/rerank": OTHERS}
EXAMPLES = {"/rerank": COHERES | INFERENCES, "/v2/rerank": COHERES}  # requests to try in Swagger, by path and name


def texts_of(documents: Any) -> Any:
    """A list with the text of each document that is `{"text": ...}`; all else as it came, to be checked."""
    if not isinstance(documents, list):
        return documents
    return [d["text"] if isinstance(d, dict) and "text" in d else d for d in documents]


def pairs_of(query: str, texts: Sequence[str]) -> list[dict[str, str]]:
    """What the model scores."""
    return [{"query": query, "document": text} for text in texts]


def one_of_both(documents: list[str] | None, texts: list[str] | None) -> list[str]:
    """The one that a request has.

    Raises:
        InvalidArgument: 400, it has both or none.
    """
    if documents is not None and texts is None:
        return documents
    if texts is not None and documents is None:
        return texts
    raise InvalidArgument(
        "a request has `documents` (Cohere's shape) or `texts` (Text Embeddings Inference's), and not both"
    )


def cohere_response(
    answers: Sequence[dict[str, float]], texts: Sequence[str], top_n: int | None, return_documents: bool
) -> dict[str, Any]:
    """As https://docs.cohere.com/reference/rerank describes it.

    Args:
        answers: one for each text, with its `logit`.
        texts: in the order of the request.
        top_n: how many of the best are answered; all by default.
        return_documents: with the texts.
    """
    results = []
    for index, score in _ranked(answers)[:top_n]:
        result: dict[str, Any] = {"index": index, "relevance_score": score}
        results.append(result | ({"document": {"text": texts[index]}} if return_documents else {}))
    return {"id": str(uuid.uuid4()), "results": results, "meta": {"api_version": {"version": "2"}}}


def inference_response(
    answers: Sequence[dict[str, float]], texts: Sequence[str], raw_scores: bool, return_text: bool
) -> list[dict[str, Any]]:
    """As https://huggingface.github.io/text-embeddings-inference describes it; `raw_scores` are logits."""
    return [
        {"index": index, "score": answers[index]["logit"] if raw_scores else score}
        | ({"text": texts[index]} if return_text else {})
        for index, score in _ranked(answers)
    ]


def _ranked(answers: Sequence[dict[str, float]]) -> list[tuple[int, float]]:
    """Index and score, the best first; equals in the order of the request."""
    order = sorted(range(len(answers)), key=lambda index: -answers[index]["logit"])
    scores = sigmoid(np.asarray([answers[index]["logit"] for index in order]))
    return list(zip(order, scores.tolist(), strict=True))
