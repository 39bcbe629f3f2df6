"""The pages of a service: where they are, what they may load, that nothing else of the disk can be read."""

from __future__ import annotations

import re
from types import SimpleNamespace

import bentoml
import pytest
from pathspec import PathSpec
from starlette.applications import Starlette
from starlette.testclient import TestClient

from quantbento.core.project_files import LIBRARY, PACKED
from quantbento.serving.api_keys import ApiKeys
from quantbento.serving.playground import pages
from quantbento.serving.playground.pages import BELOW, FOLDER, add_pages, open_paths, playground
from quantbento.serving.settings import ServiceSettings
from quantbento.serving.traffic_metrics import STATIC

SCRIPTS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js") if path.stem != "swagger")
BESIDE = (
    "..%2f..%2fsettings.py",
    "../pages.py",
    "%2e%2e/pages.py",
    "....//pages.py",
    "index.html",
    "tasks",
    "tasks/",
    "x.js",
)


def service(**settings: object) -> bentoml.Service:
    @bentoml.service(name="Any")
    class Any:
        @bentoml.api
        def ask(self) -> str:
            return "asked"

    add_pages(Any, ServiceSettings(**settings))
    return Any


def client_of(service: bentoml.Service) -> TestClient:
    [(app, path, _)] = service.mount_apps
    assert path == "/"
    return TestClient(app)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=playground()))


def test_the_page_and_all_that_it_asks_for_are_there(client):
    page = client.get("/").text
    asked = set(re.findall(r'(?:href|src)="\.(/static_content/[^"]+)"', page))
    assert {f"{BELOW}main.js", f"{BELOW}style.css"} <= asked
    for name in SCRIPTS:
        text = client.get(BELOW + name).text
        for path in re.findall(r'from "([^"]+)"', text):
            asked.add(str((FOLDER / name).parent.joinpath(path).resolve().relative_to(FOLDER)).join([BELOW, ""]))
    assert {client.get(path).status_code for path in asked} == {200}
    assert asked >= {BELOW + name for name in SCRIPTS}, "a script that nothing asks for"


def test_only_its_own_scripts_and_styles_may_run(client):
    for path in ["/", f"{BELOW}main.js", f"{BELOW}style.css", f"{BELOW}icon.svg"]:
        policy = dict(part.split(" ", 1) for part in client.get(path).headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            **dict.fromkeys(["script-src", "style-src", "connect-src"], "'self'"),
            "img-src": "'self' blob: data:",
            **dict.fromkeys(["base-uri", "form-action", "frame-ancestors"], "'none'"),
        }


def test_nothing_is_inline_nothing_is_from_elsewhere_and_no_html_is_made_of_data():
    for path in FOLDER.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=\"\./)[^>]*>|<style|\sstyle=|\son\w+=", text), path
        assert not re.search(r"""(?:href|src)="(?!\./)""", text), path
    for name in SCRIPTS:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://", text), name
        assert not re.search(r"localStorage|sessionStorage|document\.cookie", text), name


@pytest.mark.parametrize("path", BESIDE)
def test_nothing_else_can_be_read(client, path):
    assert client.get(BELOW + path).status_code == 404


def test_the_page_says_which_services_it_asks_and_whether_they_want_a_key():
    def page(*given) -> str:
        return TestClient(Starlette(routes=playground(*given))).get("/").text

    assert 'data-services="./" data-key="none"' in page()
    assert 'data-services="./a/ ./b/" data-key="needed"' in page(["./a/", "./b/"], True)


def test_swagger_is_beside_it_or_alone():
    page = client_of(service()).get("/docs")
    assert page.status_code == 200
    assert "style-src 'self' 'unsafe-inline'; connect-src 'self'" in page.headers["content-security-policy"]
    without = client_of(service(playground=False))
    assert [without.get(path).status_code for path in ("/", "/docs", f"{BELOW}swagger.js", f"{BELOW}swagger.css")] == [
        *(404, 200, 200, 200)
    ]
    assert open_paths(ServiceSettings(playground=False)) == ()


def test_the_page_needs_no_key_and_what_it_asks_does(tmp_path):
    (tmp_path / "keys").write_text(f"mine:{'0' * 64}\n")
    (tmp_path / "keys").chmod(0o600)
    settings = ServiceSettings(api_keys_file=tmp_path / "keys")
    [(app, _, _)] = service(api_keys_file=tmp_path / "keys").mount_apps
    client = TestClient(ApiKeys(app, settings.api_keys_file, open_paths(settings)))
    assert [client.get(path).status_code for path in ("/", f"{BELOW}main.js", "/info", "/docs")] == [200, 200, 401, 401]
    assert 'data-key="needed"' in client.get("/").text


def test_its_files_are_no_traffic_of_the_model_and_are_in_every_bento():
    assert BELOW.startswith(STATIC)
    packed = PathSpec.from_lines("gitwildmatch", PACKED)
    assert all(packed.match_file(path.relative_to(LIBRARY)) for path in FOLDER.rglob("*") if path.is_file())


def test_without_its_files_the_service_starts_and_says_what_is_missing(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(pages, "FOLDER", tmp_path / "none")
    mounted = SimpleNamespace(apps=[])
    mounted.mount_asgi_app = lambda app, name: mounted.apps.append(app)
    add_pages(mounted, ServiceSettings())
    assert mounted.apps[0].routes == []
    assert pages.PACKED_BY in caplog.text
