"""A part of the requests goes to the canary: at random, or always the same users."""

from __future__ import annotations

import itertools

import pytest

from quantbento.serving.versions.routing import Route


def scope(header: str | None = None, query: str = "") -> dict:
    headers = [] if header is None else [(b"x-user", header.encode())]
    return {"type": "http", "headers": headers, "query_string": query.encode()}


@pytest.mark.parametrize(("weight", "sent"), [(0, 0), (10, 10), (50, 50), (100, 100)])
def test_the_weight_is_a_percentage(weight, sent):
    draws = itertools.cycle(number / 100 for number in range(100))
    route = Route(weight, "random", None, lambda: next(draws))
    assert sum(route.to_canary(scope()) for _ in range(100)) == sent


@pytest.mark.parametrize("kind", ["header", "query"])
def test_a_user_always_gets_the_same_version(kind):
    route = Route(30, kind, "X-User" if kind == "header" else "user")
    scopes = [scope(f"u{n}") if kind == "header" else scope(query=f"a=1&user=u{n}") for n in range(2000)]
    first = [route.to_canary(s) for s in scopes]
    assert first == [route.to_canary(s) for s in scopes]
    assert sum(first) / len(first) == pytest.approx(0.3, abs=0.03)


def test_more_weight_keeps_those_that_had_the_canary():
    scopes = [scope(f"u{n}") for n in range(500)]
    few, more = ([Route(w, "header", "x-user").to_canary(s) for s in scopes] for w in (10, 40))
    assert all(more[n] for n, had in enumerate(few) if had)


@pytest.mark.parametrize("kind", ["header", "query"])
def test_who_is_not_named_does_not_get_the_canary(kind):
    assert not Route(100, kind, "user").to_canary(scope())
