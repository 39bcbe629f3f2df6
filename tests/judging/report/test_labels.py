"""Names beside points cover neither each other nor points, where there is room."""

from __future__ import annotations

import itertools
import random

from quantbento.judging.report.labels import CHARACTER, HEIGHT, place


def boxes(middles, names):
    return [
        (x - len(n) * CHARACTER / 2, y - HEIGHT / 2, x + len(n) * CHARACTER / 2, y + HEIGHT / 2)
        for (x, y), n in zip(middles, names, strict=True)
    ]


def covers(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_names_of_a_crowd_do_not_overlap_and_stay_inside():
    chance = random.Random(0)
    points = [(chance.uniform(250, 450), chance.uniform(150, 250)) for _ in range(16)]
    names = [f"variant-{i}" for i in range(16)]
    found = boxes(place(points, names, 700, 400), names)
    assert not any(covers(a, b) for a, b in itertools.combinations(found, 2))
    assert all(left >= 0 and top >= 0 and right <= 700 and bottom <= 400 for left, top, right, bottom in found)


def test_a_lone_name_stands_right_above_its_point():
    [(x, y)] = place([(100, 100)], ["a"], 200, 200)
    assert x == 100
    assert 80 < y < 100


def test_a_place_that_has_no_room_is_above_the_point():
    assert place([(5, 50)], ["much too long a name"], 20, 100) == [(5, 50 - HEIGHT)]


def test_an_empty_name_takes_no_place():
    assert place([(10, 10), (10, 10)], ["", ""], 100, 100) == [(10, 10), (10, 10)]
