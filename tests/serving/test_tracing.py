"""Spans go where OpenTelemetry's variables say, with the batch and the wait of their request."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.server import bento, serve
from quantbento.serving import tracing
from quantbento.serving.batching.queue import Ran
from quantbento.serving.settings import ServiceSettings
from tests.conftest import ROOT

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*tracing.ENDPOINTS, *tracing.PROTOCOLS, "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"):
        monkeypatch.delenv(name, raising=False)
    tracing._installed.cache_clear()
    yield
    tracing._installed.cache_clear()


def test_without_the_variable_nothing_is_traced():
    settings = ServiceSettings()
    assert not settings.traces
    assert settings.service_config()["tracing"] == {"excluded_urls": [".*"]}
    assert ServiceSettings(tracing=True).traces
    assert "tracing" not in ServiceSettings(tracing=True).service_config()


def test_the_endpoint_alone_turns_it_on(monkeypatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    config = ServiceSettings().service_config()["tracing"]
    assert (config["exporter_type"], config["otlp"], config["sample_rate"]) == ("otlp", {"protocol": "http"}, 1.0)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert ServiceSettings().service_config()["tracing"]["otlp"] == {"protocol": "grpc"}


@pytest.mark.parametrize(
    ("sampler", "argument", "rate"),
    [
        ("", "0.1", 1.0),
        ("parentbased_traceidratio", "0.1", 0.1),
        ("traceidratio", "many", 1.0),
        ("traceidratio", "7", 1.0),
        ("always_off", "", 0.0),
    ],
)
def test_the_standard_variables_say_how_many(monkeypatch, sampler, argument, rate):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    assert ServiceSettings().service_config()["tracing"]["sample_rate"] == rate


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_it_can_be_turned_off_in_the_standard_ways(monkeypatch, name, value):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setenv(name, value)
    assert not ServiceSettings().traces


def test_without_an_exporter_it_serves_untraced_and_says_what_to_install(monkeypatch, caplog):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setattr(tracing.importlib.util, "find_spec", lambda name: None)
    for _ in range(2):
        assert not ServiceSettings().traces
    [record] = caplog.records
    assert "pip install opentelemetry-exporter-otlp-proto-http" in record.getMessage()


def test_a_span_is_told_how_its_request_ran():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("request"):
        tracing.tell(Ran(batch_items=5, waited=0.25))
    with provider.get_tracer("test").start_as_current_span("refused"):
        tracing.tell(Ran())
    told, refused = exporter.get_finished_spans()
    assert told.attributes == {"quantbento.batch_size": 5, "quantbento.queue_wait_seconds": 0.25}
    assert refused.attributes == {}
    tracing.tell(Ran(1, 1.0))  # no span, no error


class Receiver:
    """A collector for OTLP by HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                assert self.path == "/v1/traces"
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    receiver.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def attributes(self) -> list[dict[str, Any]]:
        """Of the spans of requests that ran."""
        found = [{a.key: a.value for a in span.attributes} for span in self.spans]
        return [each for each in found if tracing.BATCH_SIZE in each]


@pytest.mark.slow
@pytest.mark.server
def test_a_servers_spans_arrive_with_batch_and_wait(served_home, tmp_path):
    receiver = Receiver()
    environment = {
        "BENTOML_HOME": str(served_home),
        "PYTHONPATH": str(ROOT),
        "QUANTBENTO_MODEL": "tiny-tensor-onnx-int8",
        "QUANTBENTO_THREADS": "1",
        "SLOW_SECONDS": "0.2",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        ENDPOINT: receiver.url,
    }

    async def ask(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            item = [0.25, 0.5, 0.75, 1.0]
            first = asyncio.create_task(client.post("/predict", json={"inputs": [item]}))
            await asyncio.sleep(0.1)
            others = await asyncio.gather(*(client.post("/predict", json={"inputs": [item] * 2}) for _ in range(3)))
            assert [answer.status_code for answer in [await first, *others]] == [200] * 4

    with serve(bento("tests.service.slow_service:Slow"), environment, tmp_path / "server.log") as server:
        asyncio.run(ask(server.url))
        end = time.monotonic() + 10
        while len(receiver.attributes()) < 4 and time.monotonic() < end:
            time.sleep(0.1)
    receiver.server.shutdown()
    told = receiver.attributes()
    assert [each[tracing.BATCH_SIZE].int_value for each in told] == [1, 6, 6, 6]
    waits = [each[tracing.QUEUE_WAIT].double_value for each in told]
    assert waits[0] < 0.05 < min(waits[1:])
    assert not any("/readyz" in span.name for span in receiver.spans)
