"""Every service under requests that nobody would send: nothing is answered with a 5xx, nothing hangs, nothing is logged
as an error, memory stays flat. And what the OpenAPI document of each says is what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conftest import ROOT
from tests.every_service import save_every_model
from tests.service.fuzz_requests import MAX_BODY, RIGHT, Raw, raw_requests, send

pytestmark = [pytest.mark.slow, pytest.mark.server]

REQUESTS, DOCUMENTED = 2200, 12  # in all, and for each endpoint of a document
QUIET = settings(
    deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
LIMITS = {"QUANTBENTO_MAX_BODY_BYTES": str(MAX_BODY), "QUANTBENTO_THREADS": "1"}
FEW_ITEMS = {"QUANTBENTO_MAX_ITEMS": "8"}
FEW_TOKENS = {"QUANTBENTO_MAX_TOKENS": "2", "QUANTBENTO_MAX_CHOICES": "2", "QUANTBENTO_MAX_PROMPTS": "2"}


@dataclass(frozen=True)
class Worker:
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def resident(self) -> int:
        """Bytes of memory."""
        return psutil.Process(self.pid).memory_info().rss


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def workers(logs, tmp_path_factory):
    """BentoML's worker of each service, by the service's name."""
    home, _ = save_every_model(tmp_path_factory.mktemp("models"))
    own = {name: LIMITS | (FEW_TOKENS if name == "TextGeneration" else FEW_ITEMS) for name in RIGHT}
    environment = {**os.environ, "BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("every_worker.py")), json.dumps(own), str(logs)]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        started = {name: Worker(**found) for name, found in json.loads(process.stdout.readline()).items()}
        end = time.monotonic() + 60
        while not all(worker.ready() for worker in started.values()):
            assert time.monotonic() < end, "not ready in 60 seconds"
            time.sleep(0.1)
        yield started
    finally:
        process.stdin.close()
        process.wait(20)


def test_no_request_breaks_a_service_and_memory_stays_flat(workers):
    statuses: Counter = Counter()
    half: dict[str, int] = {}

    @settings(QUIET, max_examples=REQUESTS)
    @given(raw_requests())
    def ask(raw: Raw) -> None:
        status = send(workers[raw.service].port, raw)
        statuses[status] += 1
        assert status is None or status < 500 or (raw.hasty and status in (503, 504)), (status, raw)
        if sum(statuses.values()) == REQUESTS // 2:
            half.update({name: worker.resident() for name, worker in workers.items()})

    ask()
    assert sum(statuses.values()) >= 2000
    assert {200, 400, 404, 405, 413, 415} <= statuses.keys(), statuses
    for name, worker in workers.items():
        assert worker.ready(), name
        for path, body in RIGHT[name].items():
            assert httpx.post(worker.url + path, json=body, timeout=30).status_code == 200, path
        grown = worker.resident() / half[name]
        assert grown <= 1.05, f"{name} uses {grown:.2f} times the memory of the half"


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_document_says_is_answered(workers, name):
    schema = schemathesis.openapi.from_url(f"{workers[name].url}/docs.json")
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(QUIET, max_examples=DOCUMENTED)
        @given(operation.as_strategy())
        def ask(case) -> None:
            case.call_and_validate(checks=CHECKS, timeout=30)

        ask()
        tried.add(operation.path)
    assert set(RIGHT[name]) & tried
    assert workers[name].ready()


def test_no_mistake_of_a_client_is_logged_as_an_error(workers, logs):
    """Runs after the others. What failed in the model is logged as such."""
    for log in logs.glob("*.log"):
        lines = [
            line for line in log.read_text(errors="replace").splitlines() if "[ERROR]" in line or "Traceback" in line
        ]
        assert lines == [], log.name
