"""A registry of models and Bentos on 127.0.0.1, as BentoML's client expects one: read from that client's source.

An archive is kept as `<kind>/<name>/<version>.tar` in a folder. A registry can be told to lose the connection in the
middle of an upload, and to hand out what it has of one that never ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Transmission = Literal["proxy", "presigned", "multipart"]
Record = dict[str, Any]

# What a record says for the client to choose each: without a word it asks for a presigned URL for the whole archive.
STRATEGIES = {"proxy": "proxy", "presigned": None, "multipart": "presigned_url"}
TOKEN_HEADER = "X-YATAI-API-TOKEN"


@contextlib.contextmanager
def running(folder: Path, transmission: Transmission = "proxy") -> Iterator[Registry]:
    """A registry in a thread, until the block ends."""
    registry = Registry(folder, transmission)
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Registry:
    """What a registry holds and how it behaves."""

    def __init__(self, folder: Path, transmission: Transmission) -> None:
        self.folder, self.transmission, self.url = folder, transmission, ""
        self.token = secrets.token_hex(16)
        self.requests: list[str] = []  # "PUT /path", those it answered
        self.interrupt: str | None = None  # "model" or "bento": the next upload of one breaks off halfway
        self.hands_out_halves = False
        self._signature = secrets.token_hex(16)
        self._repositories: set[tuple[str, str]] = set()
        self._records: dict[tuple[str, str, str], Record] = {}
        self._parts: dict[tuple[str, str, str], dict[int, bytes]] = {}
        self._lock = threading.Lock()

    def archive(self, kind: str, tag: str) -> Path:
        """The file of a model or Bento, there or not."""
        name, _, version = tag.partition(":")
        return self.folder / kind / name / f"{version}.tar"

    def archives(self) -> list[str]:
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*.tar"))

    def uploads(self) -> list[str]:
        return [request for request in self.requests if request.startswith("PUT")]

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """JSON, or bytes for a download; None for what is not there."""
        if path.startswith("/storage/"):
            return self._storage(method, path, body)
        if path in ("/api/v1/auth/current", "/api/v1/current_org"):
            return _resource("tester", "user") | {"email": "tester@example.com", "first_name": "", "last_name": ""}
        found = re.fullmatch(r"/api/v1/(model|bento)_repositories(?:/([^/]+)(/\1s(?:/([^/]+)(?:/(\w+))?)?)?)?", path)
        if not found:
            return None
        kind, name, versions, version, action = found.groups()
        content = json.loads(body) if body and action != "upload" else {}
        if version is None:
            return self._repository(method, kind, name, bool(versions), content)
        record = self._records.get((kind, name, version))
        return record and self._version(method, kind, record, action, content or body)

    def _repository(self, method: str, kind: str, name: str | None, versions: bool, content: Record) -> Any:
        if name is None:
            self._repositories.add((kind, content["name"]))
            return _resource(content["name"], f"{kind}_repository") | {f"latest_{kind}": None}
        if (kind, name) not in self._repositories:
            return None
        if not versions:
            return _resource(name, f"{kind}_repository") | {f"latest_{kind}": None}
        if method == "POST":
            record = _resource(content["version"], kind) | _VERSION | content
            # The client sends UTC without saying so, and compares what it gets with times that do.
            record |= {"build_at": f"{content['build_at']}Z", "repository": name}
            record["transmission_strategy"] = STRATEGIES[self.transmission]
            return self._records.setdefault((kind, name, content["version"]), record)
        listed = [r for (k, n, _), r in self._records.items() if (k, n) == (kind, name)]
        return {"start": 0, "count": len(listed), "total": len(listed), "items": listed[::-1]}

    def _version(self, method: str, kind: str, record: Record, action: str | None, content: Any) -> Any:
        key = kind, record["repository"], record["version"]
        address = f"{self.url}/storage/{'/'.join(key)}"
        if action == "download":
            return self._download(key)
        if action is None and method == "PATCH":
            record.update(content)
        elif action == "start_upload":
            record["upload_status"] = "uploading"
        elif action == "upload":
            self._keep(key, content)
            record["upload_status"] = "success"
        elif action == "finish_upload":
            record |= {"upload_status": content["status"], "upload_finished_reason": content["reason"]}
        elif action == "presign_upload_url" and self.transmission == "presigned":
            return record | {"presigned_upload_url": f"{address}/0?signature={self._signature}"}
        elif action == "presign_download_url" and self.transmission != "proxy":
            return record | {"presigned_download_url": f"{address}/0?signature={self._signature}"}
        elif action == "start_multipart_upload":
            self._parts[key] = {}
            return record | {"upload_id": secrets.token_hex(4)}
        elif action == "presign_multipart_upload_url":
            return record | {"presigned_upload_url": f"{address}/{content['part_number']}?signature={self._signature}"}
        elif action == "complete_multipart_upload":
            parts = self._parts.pop(key)
            assert all(_etag(parts[part["part_number"]]) == part["etag"] for part in content["parts"])
            self._keep(key, b"".join(parts[number] for number in sorted(parts)))
        return record

    def _storage(self, method: str, path: str, body: bytes) -> Any:
        """Presigned addresses need no token: the signature is one."""
        path, _, signature = path.partition("?signature=")
        kind, name, version, part = path.removeprefix("/storage/").split("/")
        if signature != self._signature:
            return None
        key = kind, name, version
        if method == "GET":
            return self._download(key)
        if part == "0":
            self._keep(key, body)
        else:
            self._parts[key][int(part)] = body
        return {"etag": _etag(body)}

    def _download(self, key: tuple[str, str, str]) -> bytes | None:
        archive = self.archive(key[0], ":".join(key[1:]))
        whole = self._records[key]["upload_status"] == "success" or self.hands_out_halves
        return archive.read_bytes() if whole and archive.is_file() else None

    def _keep(self, key: tuple[str, str, str], content: bytes) -> None:
        archive = self.archive(key[0], ":".join(key[1:]))
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(content)

    def breaks_now(self, method: str, path: str) -> bool:
        """True once, for an upload of what `interrupt` names."""
        if method != "PUT":
            return False
        with self._lock:
            breaks = self.interrupt is not None and f"/{self.interrupt}" in path
            self.interrupt = None if breaks else self.interrupt
            return breaks

    def keep_half(self, path: str, content: bytes) -> None:
        """What came of a broken upload, under the archive's own name: the worst a registry can do with it."""
        found = re.search(r"/(model|bento)(?:_repositories)?/([^/]+)/(?:\1s/)?([^/]+)/", path)
        assert found
        self._keep((found[1], found[2], found[3]), content)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if self.registry.breaks_now(self.command, self.path):
            self.registry.keep_half(self.path, self.rfile.read(length // 2))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.rfile.read(length)
        if not self.path.startswith("/storage/") and self.headers.get(TOKEN_HEADER) != self.registry.token:
            self._send(401, {"error": "wrong API token"})
            return
        answer = self.registry.answer(self.command, self.path.partition("?start=")[0], body)
        self.registry.requests.append(f"{self.command} {self.path}")
        self._send(*((404, {"error": "record not found"}) if answer is None else (200, answer)))

    do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

    def _send(self, status: int, answer: Any) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if isinstance(answer, dict) and "etag" in answer:
            self.send_header("ETag", answer["etag"])
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Silent."""


_VERSION: Record = {
    "image_build_status": "pending",
    "upload_status": "pending",
    "upload_finished_reason": "",
    "presigned_upload_url": "",
    "presigned_download_url": "",
}


def _resource(name: str, kind: str) -> Record:
    now = datetime.now(UTC).isoformat()
    resource = {"name": name, "resource_type": kind, "labels": [], "description": "", "uid": secrets.token_hex(8)}
    return resource | {"created_at": now, "updated_at": None, "deleted_at": None}


def _etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
