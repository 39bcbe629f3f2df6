"""The pages of a service: the playground at `/`, and Swagger at `/docs`.

They are routes, which BentoML looks at after its own endpoints: a request to the model passes nothing more than without
them. Swagger's own files are BentoML's; its page is not, since BentoML's asks another site for a script.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import Route

from quantbento.serving.playground.static_file import StaticFile

if TYPE_CHECKING:
    from _bentoml_sdk import Service

    from quantbento.serving.settings import Settings

FOLDER = Path(__file__).parent / "static"
PLAYGROUND, SWAGGER = "/", "/docs"
BELOW = "/static_content/playground/"  # what the page asks for; /static_content/ is no traffic of the model
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ONLY_OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI sets styles inside of its elements.
FOR_SWAGGER = ONLY_OWN.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
PACKED_BY = "src/quantbento/serving/playground/static/**"
logger = logging.getLogger("bentoml.serve")


def open_paths(settings: Settings) -> tuple[str, ...]:
    """The paths that need no API key, beside those of the settings: the page itself. What it asks needs one."""
    return (PLAYGROUND, BELOW) if settings.playground else ()


def add_pages(service: Service[Any], settings: Settings) -> None:
    """Gives a service its pages, with the playground where the settings say so."""
    routes = _swagger() if _are_here() else []
    if settings.playground and routes:
        routes += playground(needs_key=settings.api_keys_file is not None)
    service.mount_asgi_app(Starlette(routes=routes), name="pages")


def playground(services: Sequence[str] = ("./",), needs_key: bool = False) -> list[Route]:
    """The routes of the page and its files.

    Args:
        services: where the page finds what it asks, relative to itself: a service, or two to be compared.
        needs_key: whether they want an API key, for which the page has a field then.
    """
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    for name, value in {"services": " ".join(services), "key": "needed" if needs_key else "none"}.items():
        assert f'data-{name}=""' in page
        page = page.replace(f'data-{name}=""', f'data-{name}="{escape(value)}"')
    return [Route(PLAYGROUND, StaticFile(page.encode(), KINDS[".html"], ONLY_OWN)), *_files()]


def _swagger() -> list[Route]:
    files = [Route(BELOW + name, _file(name, ONLY_OWN)) for name in ("swagger.css", "swagger.js")]
    return [Route(SWAGGER, _file("swagger.html", FOR_SWAGGER)), *files]


def _files() -> Iterator[Route]:
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in KINDS and path.suffix != ".html" and path.stem != "swagger":
            name = path.relative_to(FOLDER).as_posix()
            yield Route(BELOW + name, _file(name, ONLY_OWN))


def _file(name: str, policy: str) -> StaticFile:
    path = FOLDER / name
    return StaticFile(path.read_bytes(), KINDS[path.suffix], policy)


def _are_here() -> bool:
    """False in a Bento whose build file packs the library's Python files only. Its endpoints are answered all the
    same."""
    if FOLDER.is_dir():
        return True
    logger.warning("the playground's files are not in this Bento: put %s in its build file's include", PACKED_BY)
    return False
