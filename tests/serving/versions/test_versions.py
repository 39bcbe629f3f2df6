"""Which version answers a request that names one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from bentoml.exceptions import InvalidArgument

from quantbento.serving import request_state
from quantbento.serving.request_state import RequestState
from quantbento.serving.settings import ServiceSettings
from quantbento.serving.versions import versions as versions_module
from quantbento.serving.versions.versions import Versions


class Live:
    """A version whose checked inputs say by which one they were checked."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.loaded = SimpleNamespace(check=lambda inputs: [f"{tag}: {item}" for item in inputs])


@pytest.fixture
def versions(monkeypatch):
    monkeypatch.setattr(versions_module.store, "find", lambda tag: SimpleNamespace(tag=tag))
    monkeypatch.setattr(versions_module, "Shadow", lambda live, tag: SimpleNamespace(candidate=live))

    def made(**settings) -> Versions:
        return Versions(ServiceSettings(**settings), SimpleNamespace(tag="m:1"), lambda stored: Live(stored.tag))

    return made


def asked(versions: Versions, tag: str | None) -> str:
    headers = [] if tag is None else [(b"x-model", tag.encode())]
    token = request_state._current.set(RequestState("id", None, {"headers": headers}))
    try:
        return versions.check(["x"])[0]
    finally:
        request_state._current.reset(token)


@pytest.mark.parametrize("settings", [{"canary": "m:2", "weight": 0}, {"shadow": "m:2"}], ids=["canary", "shadow"])
def test_a_request_that_names_a_version_is_answered_by_it(versions, settings):
    both = versions(**settings)
    assert [asked(both, tag) for tag in (None, "m:1", "m:2")] == ["m:1: x", "m:1: x", "m:2: x"]


def test_one_that_is_not_served_is_told_with_those_that_are(versions):
    with pytest.raises(InvalidArgument, match="X-Model: m:3 is not served; allowed: 'm:1' or 'm:2'"):
        asked(versions(canary="m:2", weight=100), "m:3")


def test_a_lone_version_answers_all(versions):
    assert asked(versions(), "m:3") == "m:1: x"
