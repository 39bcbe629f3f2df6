"""A report in a sentence or two, for people who decide and do not quantize."""

from __future__ import annotations

from quantbento.judging.report.document import Document, Row
from quantbento.judging.report.table import words
from quantbento.judging.rows import is_unjudged

NEAR_ONE = 0.03  # a speedup this near to 1 is called none


def summary(document: Document) -> str:
    """What the fastest variant that passed is worth, and how many passed. Every figure is the report's."""
    variants = document.variants
    if not variants:
        return "No variant was made."
    usable = [v for v in variants if v.get("passed") and v.get("speedup")]
    sentences = [_best(document, max(usable, key=lambda v: v["speedup"]["median"]))] if usable else []
    sentences.append(_how_many(variants))
    if document.placeholder:
        sentences.append("The samples are placeholders, so no figure here proves anything.")
    return " ".join(sentences)


def _best(document: Document, variant: Row) -> str:
    parts = [_speed(variant["speedup"])]
    if variant.get("size_ratio") is not None:
        parts.append(f"takes {_percent(variant['size_ratio'], 0)} of its space")
    quality = document.quality(variant)
    if quality is not None:
        kept = f"keeps {_percent(quality, 1)} of its quality ({words(document.primary)})"
        parts.append(
            kept + (", a difference within noise" if quality != 1 and _within_noise(document, variant) else "")
        )
    elif (value := (variant.get("metrics") or {}).get(document.primary)) is not None:
        parts.append(f"has a {words(document.primary)} of {value:.4g}")
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"Compared with the full-precision model, {variant['name']} {listed}."


def _speed(speedup: Row) -> str:
    median = speedup["median"]
    if abs(median - 1) <= NEAR_ONE:
        return "is as fast"
    return f"is {median:.1f} times as fast" if median >= 1.1 or median < 0.9 else f"is {median:.2f} times as fast"


def _percent(share: float, places: int) -> str:
    """A share as people say it; never "100 %" of what is not whole."""
    shown = f"{100 * share:.{places}f}"
    if float(shown) == 100 and share < 1:
        shown = f"{100 * share:.{places + 2}f}"
    return f"{shown} %" if float(shown) != 100 or share >= 1 else "nearly 100 %"


def _within_noise(document: Document, variant: Row) -> bool:
    drop: list[float] | None = ((variant.get("intervals") or {}).get(document.primary) or {}).get("drop")
    return drop is not None and drop[0] <= 0 <= drop[1]


def _how_many(variants: list[Row]) -> str:
    judged = [v for v in variants if v.get("gates") and not v.get("error")]
    failed = [v["name"] for v in judged if not v.get("passed")]
    errors = [v["name"] for v in variants if v.get("error")]
    elsewhere = [v["name"] for v in variants if is_unjudged(v) and not v.get("error")]
    without = len(variants) - len(judged) - len(errors) - len(elsewhere)
    said = []
    if judged and not failed:
        said.append(f"All {len(judged)} variants with gates passed" if len(judged) > 1 else "It passed its gates")
    elif judged:
        said.append(
            f"{len(judged) - len(failed)} of {len(judged)} variants passed their gates; refused: {', '.join(failed)}"
        )
    if without:
        said.append(f"{without} had no gates, so nothing was asked of {'it' if without == 1 else 'them'}")
    if elsewhere:
        said.append(f"not judged here: {', '.join(elsewhere)}")
    if errors:
        said.append(f"could not be made: {', '.join(errors)}")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."
