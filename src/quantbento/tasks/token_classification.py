"""Texts to entities with their places, as the Transformers token-classification pipeline answers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.entities import Strategy, Token, entities, tokens_of
from quantbento.tasks.labels import model_labels
from quantbento.tasks.metrics import class_indices
from quantbento.tasks.probabilities import softmax
from quantbento.tasks.rows import flat, stacked
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.spans import OUTSIDE, entity_counts, span_f1, spans
from quantbento.tasks.text import TextInputs, TextOptions, TextTask, checked_text, fast_tokenizer

Item = str | list[str]


class TokenClassificationOptions(TextOptions):
    labels: list[str] | None = Field(None, description="names of the model's outputs; its configuration's by default")
    tags: list[str] | None = Field(
        None, description="names of the tags that samples give as numbers, in their order; the model's by default"
    )
    aggregation_strategy: Strategy = Field("simple", description="how tokens become entities, as in Transformers")


class TokenClassification(TextTask):
    """Items are texts, or lists of words: what samples with a tag for each word have. Words are joined by spaces: the
    model reads a text, as it does when it serves."""

    name = "token-classification"
    Options = TokenClassificationOptions
    metrics = {
        "entity_f1": Metric(+1, labelled=True),
        "accuracy": Metric(+1, labelled=True),
        "entity_agreement": Metric(+1),
        "agreement": Metric(+1),
        "max_probability_difference": Metric(-1, recovers=False, extreme=True),
    }
    primary = ("entity_f1", "entity_agreement")
    auto_class = "AutoModelForTokenClassification"
    output_names = ["logits"]

    def __init__(
        self, text: TextInputs, labels: list[str], tags: list[str], strategy: Strategy, unknown_id: int | None
    ) -> None:
        self.text, self.labels, self.tags, self.strategy, self.unknown_id = text, labels, tags, strategy, unknown_id
        self.input_names = text.names

    @classmethod
    def create(cls, source: SourceModel, options: TokenClassificationOptions, samples: SampleSet) -> Self:
        text = TextInputs.create(source, options)
        labels = model_labels(source, options.labels)
        unknown_id = fast_tokenizer(source).unk_token_id
        task = cls(text, labels, options.tags or labels, options.aggregation_strategy, unknown_id)
        if samples.labels is not None:
            if any(isinstance(item, str) for item in samples.inputs):
                raise QuantbentoError("labels are a tag for each word here, so samples must be lists of words")
            task._wanted(samples.labels)
        return task

    def save(self, folder: Path) -> dict[str, Any]:
        return {
            "text": self.text.save(folder),
            "labels": self.labels,
            "tags": self.tags,
            "strategy": self.strategy,
            "unknown_id": self.unknown_id,
        }

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(**config | {"text": TextInputs.load(folder, config["text"])})

    def check(self, item: Any) -> Item:
        if isinstance(item, str):
            return checked_text(item)
        if not isinstance(item, list | tuple):
            raise InvalidInput(f"must be a string or a list of words, not {type(item).__name__}")
        for place, word in enumerate(item):
            if not isinstance(word, str):
                raise InvalidInput(f"word {place} must be a string, not {type(word).__name__}")
        checked_text(_text(item))
        return list(item)

    def parts(self, item: Item) -> tuple[str, ...]:
        return (_text(item),)

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Logits (texts, tokens, labels) to probabilities, (tokens, labels) for each text, without padding."""
        lengths = batch["attention_mask"].sum(axis=1)
        every = softmax(outputs["logits"])
        return {"probabilities": stacked([own[:length] for own, length in zip(every, lengths, strict=True)])}

    def answers(self, rows: Arrays, items: Sequence[Item]) -> list[list[dict[str, Any]]]:
        """A list of entities per text: `{"entity_group", "score", "word", "start", "end"}`, where `start` and `end` are
        characters of the text. Without aggregation tokens, with `entity` and `index`."""
        return [
            entities(self._tokens(item), row, self.labels, self.strategy, self._joined)
            for item, row in zip(items, rows["probabilities"], strict=True)
        ]

    def to_compare(self, rows: Arrays, items: Sequence[Item]) -> Arrays:
        """The probabilities of each word's first token, (words, labels); of all tokens where there are no words. A word
        that the model does not read, as one that is cut off, has zeros."""
        picked = []
        for item, row in zip(items, rows["probabilities"], strict=True):
            tokens = self._tokens(item)
            if isinstance(item, str):
                picked.append(row[[token.index for token in tokens]])
            else:
                picked.append(_of_words(item, tokens, row))
        return {"probabilities": stacked(picked)}

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        b, v = (rows["probabilities"] for rows in (baseline, variant))
        apart = float(np.abs(flat(b) - flat(v)).max(initial=0))
        return self.resampler(baseline, variant, labels)(np.arange(len(v))) | {"max_probability_difference": apart}

    def resampler(
        self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None
    ) -> Callable[[np.ndarray], dict[str, float]]:
        """Of texts: their words are no independent samples."""
        expected, found = (self._found(rows["probabilities"]) for rows in (baseline, variant))
        counted = {("entity_agreement", "agreement"): _counted(expected, found)}
        if labels is not None:
            wanted = self._wanted(labels)
            for number, (own, given) in enumerate(zip(wanted, found, strict=True)):
                if len(own) != len(given):
                    raise QuantbentoError(f"sample {number} has {len(given)} words but {len(own)} labels")
            counted["entity_f1", "accuracy"] = _counted(wanted, found)

        def of(places: np.ndarray) -> dict[str, float]:
            metrics: dict[str, float] = {}
            for (f1, share), counts in counted.items():
                right, either, same, words = map(int, counts[places].sum(axis=0))
                metrics |= {f1: span_f1(right, either), share: same / words if words else 1.0}
            return metrics

        return of

    def item_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}]}

    def answer_schema(self) -> dict[str, Any]:
        text, place, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
        own = {"entity": text, "index": place} if self.strategy == "none" else {"entity_group": text}
        properties = own | {"score": number, "word": text, "start": place, "end": place}
        return {"type": "array", "items": {"type": "object", "properties": properties}}

    def _tokens(self, item: Item) -> list[Token]:
        text = _text(item)
        return tokens_of(text, self.text.encoding(text), self.text.tokenizer, self.unknown_id)

    def _joined(self, words: list[str]) -> str:
        decoder = self.text.tokenizer.decoder
        return " ".join(words) if decoder is None else decoder.decode(words)

    def _found(self, probabilities: np.ndarray) -> list[list[str]]:
        """The label of each word, or token, of each row. What the model did not read is no entity."""
        return [[self.labels[int(p.argmax())] if p.any() else OUTSIDE for p in row] for row in probabilities]

    def _wanted(self, labels: Sequence[Any]) -> list[list[str]]:
        """Raises `QuantbentoError` where they are not lists of tags that there are."""
        for number, own in enumerate(labels):
            if not isinstance(own, list | tuple | np.ndarray):
                raise QuantbentoError(
                    f"the labels of a sample are a list, a tag for each word; number {number}: {own!r}"
                )
        places = class_indices([tag for own in labels for tag in own], self.tags)
        names = iter([self.tags[int(place)] for place in places])
        return [[next(names) for _ in own] for own in labels]


def _text(item: Item | tuple[str, ...]) -> str:
    return item if isinstance(item, str) else " ".join(item)


def _of_words(words: Sequence[str], tokens: Sequence[Token], row: np.ndarray) -> np.ndarray:
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    picked, seen = np.zeros((len(words), row.shape[1]), row.dtype), set()
    for token in tokens:
        word = bisect_right(starts, token.end - 1) - 1  # by its last character: the first may be the space before it
        if token.end > token.start and word not in seen:
            seen.add(word)
            picked[word] = row[token.index]
    return picked


def _counted(wanted: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> np.ndarray:
    """For each text, how many entities are right, how many there are on either side, how many words have the same label
    in both, and how many words there are; int64 (texts, 4)."""
    counts = []
    for own, given in zip(wanted, found, strict=True):
        same = sum(a == b for a, b in zip(own, given, strict=True))
        counts.append((*entity_counts(spans(own), spans(given)), same, len(own)))
    return np.asarray(counts, np.int64).reshape(-1, 4)
