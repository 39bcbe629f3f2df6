"""Numbers are written so that nothing looks rounder than it is."""

from __future__ import annotations

import pytest

from quantbento.judging.report import table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1, "100.00 %"),
        (0.5, "50.00 %"),
        (0.99995, "99.995 %"),
        (0.999998, "99.9998 %"),
        (0.9999999, "100.00 %"),
        (1.00001, "100.001 %"),
    ],
)
def test_only_a_whole_is_100_percent(value, shown):
    assert table.percent(value).text == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(10884.4, "10,884"), (0.00012345, "0.0001234"), (3.0, "3"), (None, "-"), (float("nan"), "nan")]
)
def test_numbers_have_no_exponent_of_ten(value, shown):
    assert table.number(value, 4).text == shown


def test_a_column_is_of_numbers_if_all_of_its_cells_are():
    rows = [[table.number(1), table.text("a")], [table.text(None), table.number(2)]]
    found = table.Table("t", "", ["a", "b"], rows)
    assert [found.numeric(0), found.numeric(1)] == [True, False]
