"""Scored tokens to entities, as the Transformers token-classification pipeline aggregates them.

1. With the strategies first, average and max, tokens are joined to words, which get one label each.
2. Neighbours of one kind are joined to groups; a label that starts with B- starts a new one.
3. What is outside of entities is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from quantbento.tasks.spans import OUTSIDE

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Strategy = Literal["none", "simple", "first", "average", "max"]


@dataclass(frozen=True)
class Token:
    """
    Attributes:
        index: its place in the model's input.
        word: as the tokenizer writes it; what the text has there where the tokenizer does not know it.
        start, end: the characters of the text that it stands for.
        continues: whether it goes on with the word of the token before it.
    """

    index: int
    word: str
    start: int
    end: int
    continues: bool


@dataclass(frozen=True)
class _Labelled:
    """Tokens that have one label."""

    tokens: Sequence[Token]
    label: str
    score: np.floating


def tokens_of(text: str, encoding: Encoding, tokenizer: Tokenizer, unknown_id: int | None) -> list[Token]:
    """The tokens that stand for something in a text: all but the special ones that frame it."""
    has_words = bool(getattr(tokenizer.model, "continuing_subword_prefix", None))
    found = []
    for index, (word, (start, end)) in enumerate(zip(encoding.tokens, encoding.offsets, strict=True)):
        if encoding.special_tokens_mask[index]:
            continue
        if encoding.ids[index] == unknown_id:
            found.append(Token(index, text[start:end], start, end, continues=False))
            continue
        # "##soft" is longer than "soft". A tokenizer without such a mark has words where there are spaces.
        continues = len(word) != end - start if has_words else start > 0 and " " not in text[start - 1 : start + 1]
        found.append(Token(index, word, start, end, continues))
    return found


def entities(
    tokens: Sequence[Token],
    probabilities: np.ndarray,
    labels: Sequence[str],
    strategy: Strategy,
    join: Callable[[list[str]], str],
) -> list[dict[str, Any]]:
    """The entities in a text.

    Args:
        tokens: of the text.
        probabilities: float32 (places of the model's input, labels).
        labels: their names.
        strategy: `none` gives every token by itself.
        join: makes a text of tokens as the tokenizer writes them.
    """
    words = _words(tokens) if strategy in ("first", "average", "max") else [[token] for token in tokens]
    labelled = [_labelled(word, probabilities, labels, strategy) for word in words]
    if strategy == "none":
        return [
            {"entity": one.label, "score": float(one.score), "index": token.index, "word": token.word, **_place(one)}
            for one in labelled
            for token in one.tokens
            if one.label != OUTSIDE
        ]
    found = []
    for group in _groups(labelled):
        whole = [token for one in group for token in one.tokens]
        score = float(np.mean([one.score for one in group]))
        kind = group[0].label.split("-", 1)[-1]
        word = join([token.word for token in whole])
        place = {"start": whole[0].start, "end": whole[-1].end}
        found.append({"entity_group": kind, "score": score, "word": word, **place})
    return [entity for entity in found if entity["entity_group"] != OUTSIDE]


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    words: list[list[Token]] = []
    for token in tokens:
        if token.continues and words:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _labelled(word: Sequence[Token], probabilities: np.ndarray, labels: Sequence[str], strategy: Strategy) -> _Labelled:
    rows = probabilities[[token.index for token in word]]
    if strategy == "average":
        row = rows.mean(axis=0)
    else:
        row = rows[rows.max(axis=1).argmax()] if strategy == "max" else rows[0]
    return _Labelled(word, labels[int(row.argmax())], row.max())


def _groups(labelled: Sequence[_Labelled]) -> list[list[_Labelled]]:
    groups: list[list[_Labelled]] = []
    for one in labelled:
        begins, kind = _begins(one.label)
        if groups and not begins and kind == _begins(groups[-1][-1].label)[1]:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _begins(label: str) -> tuple[bool, str]:
    """Whether the label begins an entity, and of what kind. One without B- or I- goes on."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def _place(one: _Labelled) -> dict[str, int]:
    return {"start": one.tokens[0].start, "end": one.tokens[-1].end}
