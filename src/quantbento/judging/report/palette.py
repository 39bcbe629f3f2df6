"""The colours of the page and its plots, for a light and a dark background.

Plots are drawn once with placeholders: a file gets the light colours, the page CSS variables that follow the reader's
theme. Text has a contrast of at least 4.5 to the page, marks of at least 3 (WCAG 2.2, 1.4.3 and 1.4.11).
"""

from __future__ import annotations

import re

LIGHT = {
    "page": "#ffffff",
    "panel": "#f4f6f8",
    "ink": "#17202a",
    "muted": "#4f5b67",
    "line": "#d5dbe1",
    "link": "#0b5cad",
    "good": "#13692f",
    "bad": "#b3261e",
    "stored": "#1f6fd6",
    "refused": "#c2410c",
    "reference": "#5f6b78",
    "series-1": "#1f6fd6",
    "series-2": "#c2410c",
    "series-3": "#15803d",
    "series-4": "#8b3fc7",
    "series-5": "#a16207",
    "series-6": "#0e7490",
    "heat-1": "#e3ecf7",
    "heat-2": "#f7d9a8",
    "heat-3": "#f0a35e",
    "heat-4": "#d9622b",
    "heat-5": "#9c2a10",
}
DARK = {
    "page": "#12171d",
    "panel": "#1b222b",
    "ink": "#e8edf2",
    "muted": "#a9b4c0",
    "line": "#3a4552",
    "link": "#8abfff",
    "good": "#6fd08c",
    "bad": "#ff9d94",
    "stored": "#5aa2ff",
    "refused": "#ff9457",
    "reference": "#9aa7b5",
    "series-1": "#5aa2ff",
    "series-2": "#ff9457",
    "series-3": "#5fcf86",
    "series-4": "#c896f5",
    "series-5": "#e0b84c",
    "series-6": "#53c7d9",
    "heat-1": "#243140",
    "heat-2": "#6b5227",
    "heat-3": "#a5692a",
    "heat-4": "#dc7a35",
    "heat-5": "#ffb08a",
}
PLACEHOLDERS = {name: f"#0a0b{i:02x}" for i, name in enumerate(LIGHT)}


def series(count: int) -> list[str]:
    """Placeholders for so many lines of a plot; they repeat after six."""
    return [PLACEHOLDERS[f"series-{i % 6 + 1}"] for i in range(count)]


def light(svg: str) -> str:
    """A drawn plot with the light colours."""
    return _filled(svg, LIGHT)


def variables(svg: str) -> str:
    """A drawn plot with CSS variables as its colours."""
    return _filled(svg, {name: f"var(--{name})" for name in LIGHT})


def declarations(colours: dict[str, str]) -> str:
    """The CSS variables of a theme."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _filled(svg: str, colours: dict[str, str]) -> str:
    names = {placeholder: name for name, placeholder in PLACEHOLDERS.items()}
    # Only as the value of an attribute: a name that looks like a placeholder stays as it is.
    return re.sub(r'(?<==")#0a0b[0-9a-f]{2}(?=")', lambda found: colours[names[found[0]]], svg)
