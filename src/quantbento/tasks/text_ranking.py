"""Pairs of a query and a document to a relevance score by a cross-encoder, as sentence-transformers' CrossEncoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.labels import config_labels
from quantbento.tasks.metrics import ndcg, rank_correlation
from quantbento.tasks.probabilities import sigmoid
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text import TextInputs, TextOptions, TextTask, checked_text, read_json

Activation = Literal["sigmoid", "identity"]
TOP = 10  # documents of a ranking that NDCG looks at


class TextRankingOptions(TextOptions):
    activation: Activation | None = Field(None, description="makes a score of a logit; the model's own by default")


class TextRanking(TextTask):
    """Items are `{"query": ..., "document": ...}`. A model has one output, or two, of which the second says that the
    document is relevant: its logit is then the difference of the two, and its sigmoid the second's probability."""

    name = "text-ranking"
    Options = TextRankingOptions
    fields = ("query", "document")
    metrics = {
        f"ndcg_{TOP}": Metric(+1, labelled=True),
        "score_spearman": Metric(+1),
        "max_score_difference": Metric(-1, recovers=False, extreme=True),
    }
    primary = (f"ndcg_{TOP}", "score_spearman")
    together = "query"
    auto_class = "AutoModelForSequenceClassification"
    output_names = ["logits"]

    def __init__(self, text: TextInputs, activation: Activation) -> None:
        self.text, self.activation = text, activation
        self.input_names = text.names

    @classmethod
    def suits(cls, config: dict[str, Any]) -> bool:
        """One output, which is no regression's or was trained as a CrossEncoder."""
        one_output = config_labels(config) == 1
        return one_output and (config.get("problem_type") != "regression" or _activation_in(config) is not None)

    @classmethod
    def create(cls, source: SourceModel, options: TextRankingOptions, samples: SampleSet) -> Self:
        text = TextInputs.create(source, options)
        assert source.folder is not None and source.module is not None
        config: Any = source.module.config
        outputs = config.num_labels
        if outputs not in (1, 2):
            raise QuantbentoError(
                f"{source.folder} has {outputs} outputs; a model for text-ranking has one, or two of which the second "
                "says that the document is relevant. With more it is for text-classification"
            )
        if samples.labels is not None:
            _relevance(samples.labels)
        return cls(text, options.activation or _activation(source.folder))

    def save(self, folder: Path) -> dict[str, Any]:
        return {"text": self.text.save(folder), "activation": self.activation}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(TextInputs.load(folder, config["text"]), config["activation"])

    def check(self, item: Any) -> dict[str, str]:
        if not isinstance(item, dict) or item.keys() != set(self.fields):
            raise InvalidInput('must be {"query": text, "document": text}')
        return {name: checked_text(item[name], f"{name} ") for name in self.fields}

    def parts(self, item: dict[str, str]) -> tuple[str, ...]:
        return item["query"], item["document"]

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Logits (pairs, 1 or 2) to one per pair, (pairs,)."""
        logits = outputs["logits"].astype(np.float32, copy=False)
        return {"logit": logits[:, -1] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]}

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[dict[str, float]]:
        """`{"score": ..., "logit": ...}` per pair: what CrossEncoder.predict gives, and the model's output before the
        activation."""
        scores = self._scores(rows)
        return [{"score": float(s), "logit": float(x)} for s, x in zip(scores, rows["logit"], strict=True)]

    def to_compare(self, rows: Arrays, items: Sequence[Any]) -> Arrays:
        """With the number of each item's query."""
        numbers: dict[str, int] = {}
        return rows | {"query": np.asarray([numbers.setdefault(item["query"], len(numbers)) for item in items])}

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        b, v = self._scores(baseline), self._scores(variant)
        metrics = {"score_spearman": rank_correlation(b, v), "max_score_difference": float(np.abs(b - v).max())}
        if labels is not None:
            relevance = _relevance(labels)
            queries = [variant["query"] == number for number in np.unique(variant["query"])]
            gains = [ndcg(variant["logit"][own], relevance[own], TOP) for own in queries if relevance[own].any()]
            if gains:  # a query without a relevant document has no best ranking
                metrics[f"ndcg_{TOP}"] = float(np.mean(gains))
        return metrics

    def examples(self) -> list[dict[str, str]]:
        query = "How do plants make food?"
        documents = ("Leaves turn sunlight, water and air into sugar.", "Trains leave hourly.", "By photosynthesis.")
        return [{"query": query, "document": document} for document in documents]

    def item_schema(self) -> dict[str, Any]:
        text = {"type": "string", "minLength": 1}
        return {"type": "object", "properties": dict.fromkeys(self.fields, text), "required": list(self.fields)}

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"score": {"type": "number"}, "logit": {"type": "number"}}}

    def _scores(self, rows: Arrays) -> np.ndarray:
        return sigmoid(rows["logit"]) if self.activation == "sigmoid" else rows["logit"]


def _relevance(labels: Sequence[Any]) -> np.ndarray:
    """Raises `QuantbentoError` where a label is no number from zero up."""
    try:
        relevance = np.asarray([float(label) for label in labels])
    except (TypeError, ValueError):
        raise QuantbentoError("labels of text-ranking are numbers: how relevant the document is, 0 for not") from None
    if not (np.isfinite(relevance) & (relevance >= 0)).all():
        raise QuantbentoError("labels of text-ranking are numbers from 0, how relevant the document is, up")
    return relevance


def _activation_in(config: dict[str, Any]) -> str | None:
    """The Python class that a `config.json` names, from sentence-transformers 4 on or before."""
    return (config.get("sentence_transformers") or {}).get("activation_fn") or config.get(
        "sbert_ce_default_activation_function"
    )


def _activation(folder: Path) -> Activation:
    """The activation that a folder's sentence-transformers files name; sigmoid, their default, where they name none.

    Raises:
        QuantbentoError: it is another, or the folder names a step that is not done here.
    """
    modules = read_json(folder / "modules.json")
    for module in modules if isinstance(modules, list) else []:
        if (kind := module["type"].rpartition(".")[2]) != "Transformer":
            raise QuantbentoError(
                f"{folder / 'modules.json'} has a {kind} step, which text-ranking does not do; use task tensor with a "
                "factory of your own"
            )
    named = read_json(folder / "config_sentence_transformers.json").get("activation_fn")
    named = named or _activation_in(read_json(folder / "config.json"))
    kind = (named or "Sigmoid").rpartition(".")[2].lower()
    if kind not in ("sigmoid", "identity"):
        raise QuantbentoError(
            f"{folder} names the activation {named}; text-ranking has 'sigmoid' and 'identity'. Choose one with "
            "activation: under task_options"
        )
    return "sigmoid" if kind == "sigmoid" else "identity"
