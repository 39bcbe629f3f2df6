"""Entities in sequences of tags, and the F1 of finding them, as seqeval and the CoNLL shared tasks count them."""

from __future__ import annotations

from collections.abc import Sequence

OUTSIDE = "O"
Span = tuple[int, int, str]  # first place, place after the last, kind

_STARTS, _ENDS, _INSIDE = "BSU", "ESL", "I"


def spans(tags: Sequence[str]) -> set[Span]:
    """The entities of one sequence of tags: BIO, IOBES or BILOU, or kinds alone. An entity goes on while the kind stays
    the same and no tag says that it ends or that another starts, so that one without its B counts too."""
    found, start, kind, ended = set(), 0, None, True
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, own = _parts(tag)
        if own != kind or ended or prefix in _STARTS:
            if kind is not None:
                found.add((start, place, kind))
            start, kind = place, own
        ended = prefix in _ENDS
    return found


def entity_counts(wanted: set[Span], found: set[Span]) -> tuple[int, int]:
    """How many entities of a sequence are right, those with the place and the kind of a wanted one, and how many there
    are on either side."""
    return len(wanted & found), len(wanted) + len(found)


def span_f1(right: int, either: int) -> float:
    """F1 of `entity_counts`, summed over all sequences. 1 where there are no entities on either side."""
    return 2 * right / either if either else 1.0


def _parts(tag: str) -> tuple[str, str | None]:
    """A tag's prefix and kind; no kind outside of entities."""
    prefix, dash, kind = tag.partition("-")
    if dash and len(prefix) == 1 and prefix in _STARTS + _ENDS + _INSIDE:
        return prefix, kind
    return _INSIDE, None if tag == OUTSIDE else tag
