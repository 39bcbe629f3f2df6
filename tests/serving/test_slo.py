"""`GET /slo`: burn rates by the workbook's formula, from what the service answered itself."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from quantbento.serving import request_window, slo
from quantbento.serving.slo import Slo
from quantbento.serving.slo_file import Objectives

OBJECTIVES = Objectives.model_validate(
    {
        "availability": {"target": 0.99, "window": "30d"},
        "error_rate": {"target": 0.01, "window": "7d"},
        "latency_p95": {"target": 0.05, "window": "30d"},
    }
)
HOUR = 3600


async def endpoint(scope, receive, send):
    status = int(scope["query_string"] or 200)
    if status == 1:
        raise RuntimeError
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def client(objectives: Objectives = OBJECTIVES, workers: int = 1) -> TestClient:
    return TestClient(Slo(endpoint, objectives, ["/encode"], workers), raise_server_exceptions=False)


def ask(asked: TestClient, **counts: int) -> dict:
    for status, count in counts.items():
        for _ in range(count):
            asked.get(f"/encode?{status[1:]}")
    return asked.get("/slo").json()


def test_a_burn_rate_is_the_bad_share_over_the_allowed_one(monkeypatch):
    ticks = itertools.count(0, 0.01)  # each answer takes 10 ms; on a busy machine some would take longer than allowed
    monkeypatch.setattr(slo, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    state = ask(client(), s200=94, s503=4, s500=2)
    windows, objectives = state["windows"], state["objectives"]
    assert windows["5m"]["requests"] == 100
    assert windows["5m"]["availability"] == pytest.approx(0.94)
    assert windows["6h"]["error_rate"] == pytest.approx(0.02)
    assert 0 < windows["1h"]["p95_seconds"] < 0.05
    assert objectives["availability"]["burn_rates"]["1h"] == pytest.approx(6)
    assert objectives["error_rate"]["burn_rates"]["5m"] == pytest.approx(2)
    assert objectives["latency_p95"]["burn_rates"]["5m"] == 0


def test_the_alerts_are_the_workbooks():
    """Of 30 days: 14.4 within an hour, and 6 within six."""
    state = ask(client(), s200=1)
    assert state["objectives"]["availability"]["page_above"] == {"1h": pytest.approx(14.4), "6h": pytest.approx(6)}
    assert not any(objective["page"] for objective in state["objectives"].values())
    assert ask(client(), s200=84, s503=16)["objectives"]["availability"]["page"]


def test_a_budget_that_is_no_longer_spent_pages_nobody(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(request_window.time, "monotonic", lambda: now[0])
    asked = client()
    assert ask(asked, s503=30)["objectives"]["availability"]["page"]
    now[0] += 1801
    state = ask(asked, s200=30)["objectives"]["availability"]
    assert state["burn_rates"] == {"5m": 0, "30m": 0, "1h": pytest.approx(50), "6h": pytest.approx(50)}
    assert not state["page"]


def test_a_slow_answer_spends_the_latencys_budget(monkeypatch):
    slo = Slo(endpoint, OBJECTIVES, ["/encode"])
    for seconds in [0.01] * 90 + [0.2] * 10:
        slo.window.note(200, seconds)
    assert slo.state()["objectives"]["latency_p95"]["burn_rates"]["5m"] == pytest.approx(2)


def test_a_clients_mistake_spends_nothing_and_other_paths_are_not_counted():
    asked = client()
    for path in ("/livez?500", "/slow?500"):
        asked.get(path)
    state = ask(asked, s400=5, s422=5, s499=5, s200=1)
    assert state["windows"]["5m"]["requests"] == 11
    assert state["windows"]["5m"]["availability"] == 1


def test_an_endpoint_that_raises_has_failed():
    assert ask(client(), s1=2)["windows"]["5m"]["error_rate"] == 1


def test_without_requests_nothing_is_claimed_and_objectives_that_are_not_there_are_left_out():
    state = ask(client(Objectives.model_validate({"availability": {"target": 0.9, "window": "7d"}})))
    assert list(state["objectives"]) == ["availability"]
    assert state["objectives"]["availability"]["burn_rates"]["5m"] is None
    assert state["windows"]["5m"] == {"requests": 0, "availability": None, "error_rate": None, "p95_seconds": None}


def test_one_of_several_workers_says_so():
    counted = ask(client(workers=2))["counted_by"]
    assert (counted["worker"], counted["workers"], counted["whole_service"]) == (1, 2, False)
    assert ask(client())["counted_by"]["whole_service"]
