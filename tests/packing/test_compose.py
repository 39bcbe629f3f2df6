"""`deploy/compose.yaml`: as careful as the manifests of Kubernetes, and fit for the services it runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.settings import PREFIX, ServiceSettings, Settings
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


@pytest.mark.parametrize("name", ["bento", "bento-gpu"])
def test_a_compose_service_may_do_as_little_as_a_pod(name):
    service = COMPOSE["services"][name]
    assert service["user"] == "1034:1034"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert all(port.startswith("127.0.0.1:") and port.endswith(":3000") for port in service["ports"])
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert service["image"].startswith("${BENTO_IMAGE:?")


@pytest.mark.parametrize(("name", "kind"), [("bento", ServiceSettings), ("bento-gpu", GenerationSettings)])
def test_a_compose_service_ends_after_its_longest_request(name, kind):
    service = COMPOSE["services"][name]
    timeout = float(service["environment"]["QUANTBENTO_TIMEOUT_SECONDS"])
    assert timeout >= kind.model_fields["timeout_seconds"].default
    assert float(service["stop_grace_period"].removesuffix("s")) >= timeout + 10


@pytest.mark.parametrize("name", ["bento", "bento-gpu"])
def test_a_compose_service_has_settings_that_exist(name):
    environment = COMPOSE["services"][name]["environment"]
    assert {v for v in environment if v.startswith(PREFIX)} <= {PREFIX + n.upper() for n in Settings.model_fields}
    assert all(Path(environment[name]).is_relative_to("/tmp") for name in ("HOME", "BENTOML_HOME"))


@pytest.mark.parametrize("name", ["bento", "bento-gpu"])
def test_a_compose_service_is_healthy_when_it_is_ready(name):
    kind, program, flag, code = COMPOSE["services"][name]["healthcheck"]["test"]
    assert (kind, program, flag) == ("CMD", "python", "-c")
    assert "'http://127.0.0.1:3000/readyz'" in code


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)], ids=["ready", "loading"])
def test_the_health_check_tells_a_ready_server_from_one_that_loads(status, code):
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        check = COMPOSE["services"]["bento"]["healthcheck"]["test"][3]
        check = check.replace(":3000/", f":{server.server_port}/")
        done = subprocess.run([sys.executable, "-c", check], capture_output=True)
    assert done.returncode == code


def test_compose_gives_the_gpu_service_a_gpu_and_only_when_asked():
    assert COMPOSE["services"]["bento-gpu"]["profiles"] == ["gpu"]
    (device,) = COMPOSE["services"]["bento-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "exec" in COMPOSE["services"]["bento-gpu"]["tmpfs"][0]  # Triton loads what it compiled
    assert "profiles" not in COMPOSE["services"]["bento"]
