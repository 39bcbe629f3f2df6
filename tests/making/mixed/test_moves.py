"""Moves come in the order that pays most per bit, and an average number of bits is never exceeded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbento.making.mixed.moves import FULL, Layers

INT8 = {8: 8.0}
MIXED = {4: 4.125, 8: 8.0625}


def layers(widths, full=16.0, **weights):
    return Layers(weights, widths, full)


def test_more_harm_comes_first_and_more_weights_later():
    found = layers(INT8, small=100, large=1000, harmless=100).moves({"small": 1.0, "large": 2.0, "harmless": 0.1})
    assert [move.layer for move in found] == ["small", "large", "harmless"]
    assert [(move.bits, move.gain, move.cost) for move in found[:1]] == [(FULL, 1.0, 800.0)]


def test_a_layer_goes_to_eight_bits_before_it_goes_to_full_precision():
    found = layers(MIXED, a=100, b=100).moves({"a": 1000.0, "b": 1.0})
    assert [(move.layer, move.bits) for move in found] == [("a", 8), ("a", FULL), ("b", 8), ("b", FULL)]
    assert found[0].gain == pytest.approx(1000 * 255 / 256)  # noise of 4 bits more has 1/256 of the power
    assert found[1].gain == pytest.approx(1000 / 256)


def test_a_layer_whose_noise_stays_in_eight_bits_goes_on_to_full_precision():
    found = layers(MIXED, a=100, b=100).moves({"a": 10.0, "b": 9.0}, {8: {"a": 9.9, "b": 0.01}})
    assert [(move.layer, move.bits) for move in found][:2] == [("b", 8), ("a", 8)]
    assert sum(move.gain for move in found) == pytest.approx(19)


def test_layers_without_weights_cost_nothing():
    assert layers(INT8, add=0, product=100).moves({"add": 0.001, "product": 0.1})[0].layer == "add"


def test_bits_are_those_of_the_last_move():
    given_layers = layers(MIXED, a=300, b=100)
    a, *_ = moves = given_layers.moves({"a": 1000.0, "b": 1.0})
    assert given_layers.bits([]) == {"a": 4, "b": 4}
    assert given_layers.bits([a]) == {"a": 8, "b": 4}
    assert given_layers.bits(moves) == {"a": FULL, "b": FULL}
    assert given_layers.average([]) == 4.125
    assert given_layers.average([a]) == pytest.approx((300 * 8.0625 + 100 * 4.125) / 400)
    assert given_layers.average(moves) == 16


def test_what_does_not_fit_is_left_out_and_what_comes_later_may_fit():
    given_layers = layers(MIXED, large=900, small=100)
    moves = given_layers.moves({"large": 90.0, "small": 1.0})
    assert moves[0].layer == "large"
    assert [(m.layer, m.bits) for m in given_layers.within(moves, 4.6)] == [("small", 8)]


harms = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0, 1e6), min_size=1, max_size=8)


@given(harms, st.floats(4.125, 16), st.randoms(use_true_random=False))
def test_the_average_holds_and_moves_are_in_their_order(harm, most, random):
    given_layers = Layers({name: random.randint(0, 10**6) for name in harm}, MIXED, 16.0)
    moves = given_layers.moves(harm)
    for name in harm:
        assert [move.bits for move in moves if move.layer == name] == [8, FULL]
    chosen = given_layers.within(moves, most)
    assert given_layers.average(chosen) <= most
    for name in harm:
        assert [move.bits for move in chosen if move.layer == name] in ([], [8], [8, FULL])
