"""The figures of reconstruction against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from quantbento.making.unjudged.reconstruction import (
    ROWS,
    LayerError,
    Reconstruction,
    relative_error,
    relative_error_up_to_scales,
)


def test_the_error_is_that_of_the_formula_also_of_many_rows():
    torch.manual_seed(0)
    source = torch.randn(2 * ROWS + 3, 8)
    made = source + 0.1 * torch.randn_like(source)
    assert relative_error(source, made) == pytest.approx(float((made - source).norm() / source.norm()), rel=1e-5)
    assert relative_error(source, source) == 0
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0
    assert relative_error(torch.zeros(2), torch.ones(2)) == math.inf


def test_scales_are_fitted_and_nothing_else_is():
    torch.manual_seed(0)
    source = torch.randn(64, 32)
    source[:, 3] = 0
    rows, columns = torch.rand(64, 1) + 0.1, torch.rand(32) + 0.1
    assert relative_error_up_to_scales(source, rows * source * columns) < 1e-4
    noise = 0.1 * torch.randn_like(source)
    assert relative_error_up_to_scales(source, rows * (source + noise) * columns) == pytest.approx(0.1, abs=0.02)
    assert relative_error_up_to_scales(source, torch.randn(64, 32)) > 0.9


@pytest.mark.parametrize(
    ("bits", "error", "wrong"), [(4, 0.5, False), (4, 0.51, True), (8, 0.1, False), (8, 0.11, True)]
)
def test_the_bound_follows_the_bits(bits, error, wrong):
    assert bool(LayerError("a", error, bits).problem) == wrong


def test_what_is_not_a_number_is_no_small_error():
    assert LayerError("a", math.nan, 4).problem


def test_the_report_names_the_worst_layers_first():
    layers = [LayerError(f"layer-{n}", n / 100, 4) for n in range(1, 8)]
    told = Reconstruction(layers).report()
    assert told is not None
    assert [layer["layer"] for layer in told["worst"]] == [f"layer-{n}" for n in (7, 6, 5, 4, 3)]
    assert told["relative_error"] == {"max": 0.07, "median": 0.04}
    assert told["sqnr_db"]["min"] == pytest.approx(23.1, abs=0.01)
    assert Reconstruction().report() is None
