"""A version that an alias moves to answers from the next request on, and what cannot be served never does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.serving.versions.follow import Follower


@dataclass
class Live:
    tag: str
    ended: bool = False

    async def end(self) -> None:
        self.ended = True


class World:
    """An alias, and a follower of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tag: str | None = "m:1"
        self.broken: set[str] = set()
        self.loaded: list[str] = []
        self.live = Live("m:1")
        self.follower = Follower("m:production", self.live, self.load, self.switch)
        monkeypatch.setattr(store, "find", self.find)

    def find(self, alias: str) -> SimpleNamespace:
        if self.tag is None:
            raise StoreError("no alias 'production'")
        return SimpleNamespace(tag=self.tag)

    def load(self, stored: SimpleNamespace) -> Live:
        self.loaded.append(stored.tag)
        if stored.tag in self.broken:
            raise StoreError("damaged")
        return Live(stored.tag)

    def switch(self, live: Live) -> None:
        self.live = live

    def move(self, tag: str | None) -> str:
        """Moves the alias, lets the follower look twice, and gives the version that answers."""
        self.tag = tag
        for _ in range(2):
            asyncio.run(self.follower.look())
        return self.live.tag


@pytest.fixture
def world(monkeypatch) -> World:
    return World(monkeypatch)


def test_what_the_alias_stands_for_answers(world):
    assert [world.move(tag) for tag in ("m:1", "m:2", "m:3")] == ["m:1", "m:2", "m:3"]
    assert world.loaded == ["m:2", "m:3"]


def test_the_version_before_stays_loaded_and_older_ones_are_freed(world):
    first = world.live
    world.move("m:2")
    second = world.live
    assert not first.ended
    world.move("m:3")
    assert first.ended
    assert not second.ended


def test_a_rollback_loads_nothing(world):
    first = world.live
    world.move("m:2")
    assert world.move("m:1") == "m:1"
    assert world.live is first
    assert world.move("m:2") == "m:2"
    assert world.loaded == ["m:2"]


def test_what_cannot_be_served_is_tried_once_and_said_once(world, caplog):
    world.broken = {"m:2"}
    assert world.move("m:2") == "m:1"
    assert world.loaded == ["m:2"]
    assert caplog.text.count("m:1 answers on; m:2 cannot be served: damaged") == 1
    assert world.move("m:3") == "m:3"


def test_an_alias_that_is_gone_changes_nothing(world, caplog):
    assert world.move(None) == "m:1"
    assert world.move("m:2") == "m:2"
    assert caplog.text.count("no alias 'production'") == 1
