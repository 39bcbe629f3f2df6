"""`GET /info` beside a service's own endpoints."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.info import ModelInfo
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings


class Known(ServedModel):
    def info(self):
        return {"model": self.tag}


def client(served) -> TestClient:
    app = Starlette(routes=[Route("/{rest:path}", lambda _: PlainTextResponse("own"), methods=["GET", "POST"])])
    return TestClient(ModelInfo(app, served))


def test_it_answers_info_and_passes_on_everything_else():
    asked = client(Known(ServiceSettings(), "tensor", "demo:abc"))
    assert asked.get("/info").json() == {"model": "demo:abc"}
    assert asked.head("/info").status_code == 200
    assert asked.get("/information").text == "own"
    assert asked.post("/info").text == "own"


def test_without_its_model_it_is_503_and_says_why(bento_home):
    answer = client(ServedModel(ServiceSettings(), "tensor", "gone")).get("/info")
    assert answer.status_code == 503
    assert "no model 'gone' in the store" in answer.json()["detail"]
