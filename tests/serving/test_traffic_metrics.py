"""Requests are counted by BentoML's names, and whoever asks for many paths does not fill the memory."""

from __future__ import annotations

import re

import prometheus_client
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from starlette.testclient import TestClient

from quantbento.serving.metrics_page import MetricsPage
from quantbento.serving.traffic_metrics import TrafficMetrics


class OneProcess:
    CONTENT_TYPE_LATEST = prometheus_client.CONTENT_TYPE_LATEST
    generate_latest = staticmethod(prometheus_client.generate_latest)


async def endpoint(scope, receive, send):
    if scope["path"] == "/broken":
        raise RuntimeError
    status = 200 if scope["path"] == "/encode" else 404
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def client():
    before = BentoMLContainer.metrics_client.get()
    BentoMLContainer.metrics_client.set(OneProcess())
    yield TestClient(TrafficMetrics(MetricsPage(endpoint), ["/encode", "/broken"]))
    BentoMLContainer.metrics_client.set(before)


def counted(client) -> dict[tuple[str, str], float]:
    text = client.get("/metrics").text
    found = re.findall(r'bentoml_service_request_total{endpoint="(.*?)",http_response_code="(\d+)".*} (.*)', text)
    return {(path, status): float(value) for path, status, value in found}


def test_requests_are_counted_by_path_and_status(client):
    before = counted(client).get(("/encode", "200"), 0)
    for _ in range(3):
        client.get("/encode")
    after = counted(client)
    assert after["/encode", "200"] == before + 3
    assert 'request_in_progress{endpoint="/encode"' in client.get("/metrics").text


def test_a_request_without_an_answer_is_counted(client):
    with pytest.raises(RuntimeError):
        client.get("/broken")
    assert counted(client)["/broken", "499"] == 1


def test_unknown_paths_are_one(client):
    client.get("/unknown")
    lines = len(client.get("/metrics").text.splitlines())
    for number in range(100):
        client.get(f"/unknown/{number}")
        client.get(f"/static_content/{number}")
    assert counted(client)["other", "404"] >= 101
    assert len(client.get("/metrics").text.splitlines()) <= lines + 40
    assert "/unknown/7" not in client.get("/metrics").text
