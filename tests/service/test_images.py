"""The services for images: saved, served over HTTP, built, and given what nobody would send."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import bentoml
import httpx
import hypothesis.strategies as st
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

import quantbento
from examples.server import bento, serve
from quantbento.packing.build import build
from tests.conftest import ROOT, model_store
from tests.tiny_images import LABELS, SIZE, base64_of, file_of, huge_png, picture, write_classifier, write_processor

pytestmark = [pytest.mark.slow, pytest.mark.server]

CLASSIFIER, ENCODER = "tiny-images-onnx-int8", "tiny-image-encoder-torch-int8"
FILES = [file_of(picture(seed=seed), "JPEG") for seed in range(6)]
MB = 1_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with one model for each service, made from an image folder with a subfolder for each label."""
    folder = tmp_path_factory.mktemp("images")
    model = write_classifier(folder / "model")
    write_processor(
        model, "CLIPImageProcessor", size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    for seed in range(16):
        place = folder / "held-out" / LABELS[seed % 8]
        place.mkdir(parents=True, exist_ok=True)
        picture(seed=seed).save(place / f"{seed}.png")
    common = {
        "schema_version": 1,
        "model": {"path": str(model)},
        "evaluation": {"path": str(folder / "held-out")},
    }
    onnx, torch = ({"name": f"{kind}-int8", "quantizer": f"{kind}-dynamic"} for kind in ("onnx", "torch"))
    with model_store(folder / "bentoml") as home:
        for name, task, variant in (
            ("tiny-images", "image-classification", onnx),
            ("tiny-image-encoder", "image-feature-extraction", torch),
        ):
            first = task == "image-classification"
            benchmark = {"items": 4, "rounds": 3, "latency_calls": 10, "threads": 1, "memory": first}
            recipe = {**common, "name": name, "task": task, "variants": [variant], "benchmark": benchmark}
            report = quantbento.save(recipe, output=folder / "reports")
            assert report.exit_code == 0, report.variants
            [row] = report.variants
            if first:
                assert row.peak_memory_bytes > 10 * MB
                assert {"accuracy", "top5_accuracy", "agreement"} <= set(row.metrics)
    return home


@pytest.fixture(scope="module")
def classification(home, tmp_path_factory):
    limits = {"QUANTBENTO_MAX_ITEMS": "8", "QUANTBENTO_MAX_BODY_BYTES": str(4 * MB)}
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": CLASSIFIER, **limits}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve(bento("service:ImageClassification"), environment, log) as server:
        yield server


@pytest.fixture(scope="module")
def extraction(home, tmp_path_factory):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": ENCODER}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve(bento("service:ImageFeatureExtraction"), environment, log) as server:
        yield server


def load(home, tag):
    with model_store(home):
        return quantbento.load(tag)


def upload(server, *files: bytes, route: str = "classify", **fields: str) -> httpx.Response:
    parts = [("images", (f"{number}.png", data)) for number, data in enumerate(files)]
    return httpx.post(f"{server.url}/{route}", files=parts, data=fields, timeout=60)


def as_json(server, images: list, route: str = "classify", **fields) -> httpx.Response:
    return httpx.post(f"{server.url}/{route}", json={"images": images, **fields}, timeout=60)


def test_uploads_and_base64_are_answered_as_in_process(classification, home):
    expected = load(home, CLASSIFIER)(FILES)
    assert upload(classification, *FILES).json() == expected
    assert as_json(classification, [base64.b64encode(data).decode() for data in FILES]).json() == expected
    assert upload(classification, *FILES, top_k="2").json() == [answers[:2] for answers in expected]
    assert len(as_json(classification, [base64_of(picture())], top_k=99).json()[0]) == len(LABELS)


def test_the_service_loads_neither_torch_nor_transformers(home):
    code = f"""
import sys, service, quantbento
from tests.tiny_images import picture
assert len(quantbento.load({CLASSIFIER!r})([picture()])[0]) == 5
print(*sys.modules)
"""
    environment = {**os.environ, "BENTOML_HOME": str(home)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"PIL.Image", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "transformers", "onnx", "tokenizers", "datasets"}


def test_bentomls_client_can_ask(classification, home):
    with bentoml.SyncHTTPClient(classification.url) as client:
        [answer] = client.classify(images=[base64_of(picture())], top_k=1)
    assert answer == load(home, CLASSIFIER)([{"image": picture(), "top_k": 1}])[0]


def test_images_become_embeddings(extraction, home):
    expected = np.stack(load(home, ENCODER)(FILES))
    given = [upload(extraction, *FILES, route="encode"), as_json(extraction, [base64_of(picture())], "encode")]
    np.testing.assert_allclose(given[0].json(), expected, atol=1e-4)
    assert np.shape(given[1].json()) == (1, expected.shape[1])
    assert as_json(extraction, [base64_of(picture())], "encode", top_k=1).status_code == 400


WRONG = {
    "no image": ({"images": ["aGFsbG8="]}, 400, "images"),
    "none": ({"images": []}, 400, "images"),
    "too many": ({"images": [base64_of(picture())] * 9}, 400, "images"),
    "an address": ({"images": ["http://127.0.0.1/a.png"]}, 400, "images"),
    "a file of the server's": ({"images": [{"path": "/etc/hostname", "bytes": None}]}, 400, "images"),
    "top_k": ({"images": [base64_of(picture())], "top_k": 0}, 400, "top_k"),
    "a misspelt field": ({"image": [base64_of(picture())]}, 400, "image"),
    "a large body": ({"images": ["A" * 4 * MB]}, 413, None),
}


@pytest.mark.parametrize(("body", "status", "field"), WRONG.values(), ids=WRONG)
def test_wrong_requests_are_refused_with_the_fields_name(classification, body, status, field):
    response = httpx.post(f"{classification.url}/classify", json=body)
    assert response.status_code == status
    if field:
        assert field in {error["loc"][0] for error in response.json()["errors"]}


def test_openapi_shows_both_bodies(classification):
    path = httpx.get(f"{classification.url}/docs.json").json()["paths"]["/classify"]["post"]
    content = path["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert content["application/json"]["schema"]["properties"]["images"]["items"]["format"] == "byte"
    assert content["multipart/form-data"]["schema"]["properties"]["images"]["items"]["format"] == "binary"
    labels = path["responses"]["200"]["content"]["application/json"]["schema"]["items"]["items"]["properties"]
    assert set(labels) == {"label", "score"}
    assert "curl -F images=@cat.png" in path["description"]


@pytest.mark.parametrize("tag", [CLASSIFIER, ENCODER])
def test_a_bento_is_built_with_what_images_need(home, tag, monkeypatch):
    monkeypatch.chdir(ROOT)
    with model_store(home):
        built = build(tag)
        packed = Path(bentoml.bentos.get(built.tag).path)
    requirements = (packed / "env" / "python" / "requirements.txt").read_text()
    assert "pillow==" in requirements
    assert ("torch==" in requirements) == (tag == ENCODER)


# What nobody would send, or an attacker would. Files first: whole ones, and what is made of them.
NARROW = [file_of(Image.new("L", (1, length))) for length in (60_000, 5_000_000)]
WHOLE = [
    *FILES[:2],
    file_of(picture(mode="CMYK"), "JPEG"),
    file_of(picture(mode="P"), "GIF", save_all=True, append_images=[picture(seed=1, mode="P")] * 3),
    file_of(Image.fromarray((np.arange(600, dtype=np.uint16) * 100).reshape(20, 30))),
    file_of(picture(mode="RGBA"), "WEBP"),
    file_of(picture(), "BMP"),
    file_of(Image.new("RGB", (3000, 3000))),
    file_of(Image.new("RGB", (3000, 3000)), "WEBP"),
]
BOMBS = [huge_png(), huge_png(20_000, 5_000), huge_png(60_000, 1), *NARROW, file_of(Image.new("L", (5000, 4000)))]
whole = st.sampled_from(WHOLE)


@st.composite
def damaged(draw) -> bytes:
    data = bytearray(draw(whole.filter(lambda data: len(data) < 100_000)))
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=12)):
        data[place] = value
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


blobs = st.one_of(whole, damaged(), damaged(), st.sampled_from(BOMBS), st.binary(max_size=2000), st.just(b""))
texts = st.one_of(
    blobs.map(lambda data: base64.b64encode(data).decode()),
    blobs.map(lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}"),
    st.text(max_size=200),
    st.just("A" * 2_000_000),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
top_ks = st.one_of(st.none(), st.integers(-3, 10), st.integers(), st.floats(), st.text(max_size=5))
names = st.one_of(st.just("images"), st.just("images"), st.sampled_from(["top_k", "image", "", "images[]", "é\n"]))
types = st.sampled_from(["image/png", "text/html", "application/json", "", "x"])


@st.composite
def forms(draw) -> dict:
    files = draw(
        st.lists(st.tuples(names, st.tuples(st.text("ab.é/", max_size=9), blobs, types)), min_size=1, max_size=5)
    )
    wanted = draw(top_ks)
    return {"files": files, "data": {} if wanted is None else {"top_k": str(wanted)}}


@st.composite
def valid(draw) -> dict:
    files = draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=5))
    return {"files": [("images", (f"{number}.png", data)) for number, data in enumerate(files)]}


@st.composite
def documents(draw) -> dict:
    body = draw(st.fixed_dictionaries({"images": st.lists(texts, max_size=4)}, optional={"top_k": top_ks}) | anything)
    return {"content": json.dumps(body), "headers": {"content-type": "application/json"}}


@st.composite
def bodies(draw) -> dict:
    types = ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "image/png", "a/b", ""]
    content = draw(
        st.one_of(blobs, blobs.map(lambda data: b'--x\r\nContent-Disposition: form-data; name="images"' + data))
    )
    return {"content": content, "headers": {"content-type": draw(st.sampled_from(types))}}


def test_no_request_breaks_the_service_and_memory_stays_flat(classification, home):
    url, statuses = f"{classification.url}/classify", []
    with httpx.Client(timeout=60) as client:

        @settings(
            max_examples=250,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.one_of(valid(), forms(), forms(), documents(), documents(), bodies(), bodies()))
        def ask(request):
            status = client.post(url, **request).status_code
            statuses.append(status)
            assert status < 500, request

        for _ in range(3):  # what is allocated once
            ask()
        before, warmed, after = resident(classification), len(statuses), []
        for _ in range(3):
            ask()
            after.append(resident(classification))
    grown = min(after) - before  # the last image may still be in memory
    assert len(statuses) - warmed >= 300
    assert {200, 400, 415} <= set(statuses)
    assert grown < 60 * MB, f"{grown / MB:.0f} MB after {len(statuses) - warmed} requests"
    assert upload(classification, *FILES).json() == load(home, CLASSIFIER)(FILES)
    assert httpx.get(f"{classification.url}/readyz").status_code == 200


def resident(server) -> int:
    """Bytes in memory of a server and its children."""
    root = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])
