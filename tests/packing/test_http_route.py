"""An HTTPRoute between two Bentos. There is no schema of it here: its fields by hand, as the Gateway API has them."""

from __future__ import annotations

import pytest
import yaml

from quantbento.cli import main
from quantbento.core.errors import QuantbentoError
from quantbento.packing.http_route import write_route
from tests.conftest import model_store
from tests.stored_bento import write_bento

# https://gateway-api.sigs.k8s.io/reference/spec, as far as we use it: the fields of each object.
SPEC = {"parentRefs", "hostnames", "rules"}
RULE = {"matches", "backendRefs"}
BACKEND = {"name", "port", "weight"}


@pytest.fixture
def bentos(tmp_path):
    with model_store(tmp_path / "home") as home:
        for tag in ("minilm:v1", "minilm-next:v2"):
            write_bento(home / "bentos", tag)
        yield


def route(**options):
    return yaml.safe_load(write_route("minilm", "minilm-next", 10, "infra/web", **options).read_text())


def test_the_weights_are_those_of_the_services_that_render_writes(bentos, tmp_path):
    made = route(output=tmp_path / "route.yaml")
    assert (made["apiVersion"], made["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert made["metadata"] == {"name": "minilm"}
    assert made["spec"].keys() <= SPEC
    assert made["spec"]["parentRefs"] == [{"name": "web", "namespace": "infra"}]
    [rule] = made["spec"]["rules"]
    assert rule.keys() <= RULE
    assert all(backend.keys() == BACKEND for backend in rule["backendRefs"])
    assert {b["name"]: b["weight"] for b in rule["backendRefs"]} == {"minilm-bento": 90, "minilm-next-bento": 10}


def test_a_header_decides_first_and_a_hostname_limits(bentos, tmp_path):
    spec = route(header="X-Canary", hostname="api.example", output=tmp_path / "route.yaml")["spec"]
    assert spec["hostnames"] == ["api.example"]
    first, _ = spec["rules"]
    assert first["matches"] == [{"headers": [{"type": "Exact", "name": "X-Canary", "value": "true"}]}]
    assert [backend["name"] for backend in first["backendRefs"]] == ["minilm-next-bento"]


def test_all_that_is_wrong_is_said_at_once(bentos):
    with pytest.raises(QuantbentoError) as raised:
        write_route("minilm", "minilm", 101, "web", hostname="Not A Host")
    for said in ("both Bentos are named 'minilm'", "not 101", "'Not A Host'"):
        assert said in str(raised.value)


def test_the_command_says_what_to_run(bentos, tmp_path, capsys):
    file = tmp_path / "route.yaml"
    arguments = [
        "deploy",
        "canary",
        "minilm",
        "minilm-next",
        "--weight",
        "25",
        "--gateway",
        "web",
        "--output",
        str(file),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f"{file}: 25 % of the requests to minilm-next, the others to minilm" in said
    assert f"kubectl apply -f {file}" in said
