"""The page of every task in a browser: used by keyboard, wrong input in words, two versions side by side."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

import quantbento
from quantbento import cli
from tests.conftest import model_store
from tests.every_service import save_every_model
from tests.service.browsing import Visit, chromium, visit
from tests.stored_texts import server_of
from tests.tiny_images import picture

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.browser]
TEXTS, EMPTY = "textarea[name=texts]", "The service does not take this input:"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    return save_every_model(tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(request, saved, browser, tmp_path):
    """The page of a service, by its name."""
    home, made = saved
    with server_of(request.param, made[request.param], home, tmp_path) as server, visit(browser, server.url) as visited:
        yield visited
        assert 'endpoint="other"' not in server.metrics()


def of(service: str):
    return pytest.mark.parametrize("page", [service], indirect=True)


def nothing_is_refused_in_words(page: Visit) -> None:
    page.write(TEXTS, "")
    assert page.run() == "There is no answer."
    assert "Not answered (400)." in page.problem()
    assert "texts: List should have at least 1 item" in page.problem()


def cells(page: Visit, table: str) -> list[str]:
    return page.page.locator(f"{table} td").all_inner_texts()


@of("Embedding")
def test_texts_and_how_near_they_are(page):
    nothing_is_refused_in_words(page)
    page.write(TEXTS, "the good film\n\nthe good film\na bad day")
    assert "3 texts; 1 empty line is left out." in page.page.inner_text(".field .hint")
    assert page.run().startswith("3 vectors of 32 numbers. Nearest: 1 and 2, cosine 1.000")
    assert page.problem() == ""
    shown = cells(page, ".matrix table")
    assert [shown[i] for i in (0, 1, 3, 4, 8)] == ["1.000"] * 5
    took, by = page.page.inner_text(".took").split(" ms by ")
    assert float(took) > 0
    assert by == page.page.evaluate("fetch('./info').then(r => r.json()).then(i => i.model)")
    assert by.split(":")[1] in page.page.inner_text("#models")
    page.check()


@of("TextClassification")
def test_labels_with_bars(page):
    nothing_is_refused_in_words(page)
    page.write(TEXTS, "<b>the</b> good film\nthe dull day")
    assert page.run().startswith("2 answers: ")
    assert page.page.locator("blockquote").all_inner_texts() == ["<b>the</b> good film", "the dull day"]
    assert all(text.endswith(" %") for text in page.page.locator(".bar .number").all_inner_texts())
    page.check()


@of("TextRanking")
def test_documents_by_rank(page):
    page.write("input[name=query]", "")
    page.run()
    assert "pairs › 0" in page.problem()
    page.write("input[name=query]", "the good film")
    page.write(TEXTS, "the film\nthe plot\nthe song")
    assert page.run().startswith("Best of 3 documents: “the ")
    numbers = [float(text) for text in page.page.locator(".ranked .number").all_inner_texts()]
    assert len(numbers) == 3
    assert numbers == sorted(numbers, reverse=True)
    page.check()


@of("TokenClassification")
def test_entities_are_marked_where_they_are(page):
    nothing_is_refused_in_words(page)
    page.write(TEXTS, "😀 the good film was fine")
    assert "in 1 text" in page.run()
    found = page.page.evaluate(
        "fetch('./entities', {method: 'POST', headers: {'content-type': 'application/json'},"
        " body: JSON.stringify({texts: ['😀 the good film was fine']})}).then(r => r.json())"
    )[0]
    marks = [text.rpartition(" ")[0] for text in page.page.locator("mark").all_inner_texts()]
    assert marks == ["😀 the good film was fine"[one["start"] : one["end"]] for one in found]
    page.check()


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        picture(seed=number).save(path)
    (tmp_path / "text.png").write_text("no image")
    return [*paths, tmp_path / "text.png"]


@of("ImageClassification")
def test_images_and_their_labels(page, pictures):
    page.choose("input[name=images]", pictures[2])
    assert page.run() == "There is no answer."
    assert "images: item 0: the image is damaged, or of a format that is not read" in page.problem()
    page.choose("input[name=images]", *pictures[:2])
    page.write("input[name=top_k]", "3")
    assert page.run().startswith("2 answers: ")
    assert page.page.locator(".bar").count() == 6
    assert page.page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.check()


@of("ImageFeatureExtraction")
def test_images_and_how_near_they_are(page, pictures):
    page.choose("input[name=images]", pictures[0], pictures[0], pictures[1])
    assert page.run().startswith("3 vectors of ")
    assert cells(page, ".matrix table")[:2] == ["1.000", "1.000"]
    page.check()


@of("TensorModel")
def test_arrays_in_json_and_in_a_file(page, tmp_path):
    page.write("textarea[name=body]", '{"inputs": [[1, 2')
    assert page.run() == "There is no answer."
    assert "The request is no valid JSON" in page.problem()
    page.write("textarea[name=body]", '{"inputs": [[1, 2]]}')
    page.run()
    assert EMPTY in page.problem()
    page.write("textarea[name=body]", '{"inputs": [[1, 2, 3, 4]]}')
    assert page.run() == "1 answer of shape [3]"
    first = cells(page, "#answers table")
    np.save(tmp_path / "inputs.npy", np.asarray([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32))
    page.choose("input[name=file]", tmp_path / "inputs.npy")
    assert page.run() == "2 answers of shape [3]"
    assert cells(page, "#answers table")[:3] == first
    page.check()


@of("TextGeneration")
def test_a_text_comes_piece_by_piece_and_can_be_stopped(page):
    page.write("textarea[name=prompt]", "")
    page.run()
    assert "prompt" in page.problem()
    page.write("textarea[name=prompt]", "def fibonacci(n):")
    page.write("input[name=max_tokens]", "16")
    page.write("input[name=temperature]", "0")
    assert " token" in page.run()
    assert "tokens/s" in page.page.inner_text("#status")
    assert page.page.inner_text(".generated").strip()
    page.check()
    page.write("input[name=max_tokens]", "900")
    page.tab_to("#run")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".generated:not(:empty)")
    page.tab_to("#stop")
    page.page.keyboard.press("Enter")
    assert page.answered().endswith("; you stopped it")
    assert page.page.evaluate("document.activeElement.id") == "run"
    assert page.run().endswith(("; ended at the most tokens", "; the model ended it"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """A store with one model in two forms."""
    folder = tmp_path_factory.mktemp("two")
    recipe = {
        "schema_version": 1,
        "name": "two",
        "task": "tensor",
        "model": {"factory": "tests.tiny_tensor:model"},
        "evaluation": {"factory": "tests.tiny_tensor:samples"},
        "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        "variants": [{"name": "a", "quantizer": "onnx-dynamic"}, {"name": "b", "quantizer": "onnx-weights"}],
    }
    with model_store(folder / "bentoml") as home:
        assert quantbento.save(recipe, output=folder / "reports").exit_code == 0
    return home


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_two_versions_of_a_service_side_by_side(two, browser, tmp_path, kind):
    settings = {"canary": "two-b", "weight": 0} if kind == "canary" else {"shadow": "two-b"}
    with server_of("TensorModel", "two-a", two, tmp_path, **settings) as server, visit(browser, server.url) as page:
        page.write("textarea[name=body]", '{"inputs": [[0.5, 1, -1, 2]]}')
        assert page.run().startswith("Largest difference: 0.")
        info = httpx.get(f"{server.url}/info").json()
        took = page.page.locator(".took").all_inner_texts()
        assert [text.split(" by ")[1] for text in took] == [info["model"], info[kind]]
        page.check()


def test_an_api_key_is_asked_for_and_kept_nowhere(two, browser, tmp_path, capsys):
    assert cli.main(["keys", "add", str(tmp_path / "keys"), "mine"]) == 0
    key = capsys.readouterr().out.split()[-1]
    settings = {"api_keys_file": tmp_path / "keys"}
    with (
        server_of("TensorModel", "two-a", two, tmp_path, **settings) as server,
        visit(browser, server.url, "#key") as page,
    ):
        page.check()
        page.write("input[name=key]", "wrong")
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector(".problem")
        assert "this API key is not valid" in page.problem()
        page.write("input[name=key]", key)
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("#work:not([hidden])")
        assert page.run() == "1 answer of shape [3]"
        assert page.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        page.check()


def test_swagger_works_without_asking_anybody_else(two, browser, tmp_path):
    with (
        server_of("TensorModel", "two-a", two, tmp_path) as server,
        visit(browser, f"{server.url}/docs", ".opblock") as page,
    ):
        assert "/predict" in page.page.inner_text("#swagger-ui")
        answers: list[str] = []
        page.page.on("response", lambda response: answers.append(response.url))
        page.page.reload()
        page.page.wait_for_selector(".opblock")
        page.page.wait_for_load_state("networkidle")
        # BentoML's description of a service has badges of other sites, which the policy keeps from being asked for.
        assert set(page.page.evaluate("violations")) == {"img-src"}
        assert {url.split("/")[2] for url in answers if url.startswith("http")} == {server.url.split("/")[2]}
