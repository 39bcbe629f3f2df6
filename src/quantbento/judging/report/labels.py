"""Places for the names of points in a plot, so that they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Sequence

CHARACTER, HEIGHT, POINT = 6.2, 13.0, 6.0  # pixels: a mean letter of 11 px, a line, half of a point with its border
Box = tuple[float, float, float, float]  # left, top, right, bottom
Place = tuple[float, float]


def place(points: Sequence[Place], names: Sequence[str], width: float, height: float) -> list[Place]:
    """The middle of each name's label, in pixels.

    Each name takes the nearest place that is free, above and below its point first, and inside of the plot. Where none
    is free, it stands above its point. An empty name stands on its point.
    """
    taken: list[Box] = [(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in points]
    found = []
    for (x, y), name in zip(points, names, strict=True):
        if not name:
            found.append((x, y))
            continue
        half = len(name) * CHARACTER / 2
        boxes = ((middle, _box(middle, half)) for middle in _candidates(x, y, half))
        free = (
            middle for middle, box in boxes if _inside(box, width, height) and not any(_cover(box, t) for t in taken)
        )
        middle = next(free, (x, y - HEIGHT))
        taken.append(_box(middle, half))
        found.append(middle)
    return found


def _candidates(x: float, y: float, half: float) -> list[Place]:
    places = []
    for step in range(1, 13):
        away = POINT + HEIGHT * (step - 0.3)
        for side in (0.0, half * 0.8, -half * 0.8):
            places += [(x + side, y - away), (x + side, y + away)]
        if step == 1:
            places += [(x + half + 2 * POINT, y), (x - half - 2 * POINT, y)]
    return places


def _box(middle: Place, half: float) -> Box:
    x, y = middle
    return x - half, y - HEIGHT / 2, x + half, y + HEIGHT / 2


def _inside(box: Box, width: float, height: float) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height


def _cover(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
