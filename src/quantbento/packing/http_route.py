"""A part of the requests to another Bento, by the Gateway API: https://gateway-api.sigs.k8s.io/guides/traffic-splitting.

Within one service `canary` and `weight` do the same for two stored versions. This is for two Bentos, past one machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from quantbento.core.errors import QuantbentoError
from quantbento.packing.kubernetes import RENDERED, prefix, service_name
from quantbento.packing.needs import needs_of

VERSION = "gateway.networking.k8s.io/v1"
PORT = 3000  # of the Services in deploy/kubernetes
FILE = "httproute.yaml"
HOSTNAME = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


def write_route(
    stable: str,
    canary: str,
    weight: int,
    gateway: str,
    *,
    hostname: str | None = None,
    header: str | None = None,
    output: Path | None = None,
) -> Path:
    """Writes an HTTPRoute, and returns its file.

    Args:
        stable, canary: Bentos, both rendered and applied in one namespace; they have different names.
        weight: percent of the requests that the canary gets.
        gateway: the Gateway's name, or `namespace/name`.
        hostname: requests to another one are not routed; by default every one is.
        header: requests with this header set to `true` always go to the canary.
        output: the file; by default `httproute.yaml` beside the stable Bento's rendered folder.

    Raises:
        QuantbentoError: lists all that is wrong.
    """
    problems: list[str] = []
    names = [needs_of(tag, problems).name for tag in (stable, canary)]
    if names[0] == names[1]:
        problems.append(
            f"both Bentos are named {names[0]!r}, and so their Services: name one of them otherwise in its build file"
        )
    if not 0 <= weight <= 100:
        problems.append(f"weight is a percentage from 0 to 100, not {weight}")
    if hostname is not None and not HOSTNAME.fullmatch(hostname):
        problems.append(f"hostname {hostname!r} is not one, in lower case")
    namespace, _, gateway_name = gateway.rpartition("/")
    if problems:
        raise QuantbentoError("\n".join(["no route can be written:", *(f"  - {p}" for p in problems)]))
    parent = {"name": gateway_name} | ({"namespace": namespace} if namespace else {})
    to_stable, to_canary = ({"name": service_name(name), "port": PORT} for name in names)
    rules: list[dict[str, Any]] = []
    if header:
        match = {"headers": [{"type": "Exact", "name": header, "value": "true"}]}
        rules.append({"matches": [match], "backendRefs": [to_canary]})
    rules.append({"backendRefs": [to_stable | {"weight": 100 - weight}, to_canary | {"weight": weight}]})
    route = {
        "apiVersion": VERSION,
        "kind": "HTTPRoute",
        "metadata": {"name": prefix(names[0])},
        "spec": {"parentRefs": [parent]} | ({"hostnames": [hostname]} if hostname else {}) | {"rules": rules},
    }
    file = output or RENDERED / f"{names[0]}-{FILE}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(route, sort_keys=False), encoding="utf-8")
    return file
