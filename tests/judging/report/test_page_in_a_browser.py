"""The page in headless Chromium: plots are drawn, tables are sorted, nothing is fetched, and axe-core finds nothing."""

from __future__ import annotations

import shutil

import pytest

from quantbento.judging.report import page
from tests.judging.report import written

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOKS = {
    "light": ({"width": 1280, "height": 900}, "light"),
    "dark": ({"width": 1280, "height": 900}, "dark"),
    "phone": ({"width": 360, "height": 740}, "light"),
    "dark-phone": ({"width": 360, "height": 740}, "dark"),
}

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return page.write(written.write_full(tmp_path_factory.mktemp("page"))).path


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=LOOKS)
def opened(request, browser, report):
    """The page in each look; a request, an error or a message in the console fails the test."""
    viewport, scheme = LOOKS[request.param]
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    context.set_default_timeout(120_000)
    seen = []

    def answer(route):
        if route.request.url != report.as_uri():
            seen.append(f"asked for {route.request.url}")
        route.continue_()

    context.route("**/*", answer)
    shown = context.new_page()
    shown.on("console", lambda message: seen.append(message.text))
    shown.on("pageerror", lambda error: seen.append(str(error)))
    shown.goto(report.as_uri())
    yield shown
    assert seen == []
    context.close()


def first_column(shown, table: str) -> list[str]:
    return shown.locator(f"#table-{table} tbody tr > :first-child").all_inner_texts()


def column(shown, table: str, place: int) -> list[str]:
    return shown.locator(f"#table-{table} tbody tr > :nth-child({place})").all_inner_texts()


def test_plots_are_drawn_and_nothing_is_wider_than_the_page(opened):
    drawn = opened.locator(".plot:visible")
    assert drawn.count() == 6
    for i in range(6):
        box = drawn.nth(i).locator("svg").bounding_box()
        assert box["width"] > 150
        assert box["height"] > 80
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.locator(".plot:visible path").count() > 20


def test_axe_finds_nothing(opened):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(opened).response["violations"]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []


@pytest.mark.parametrize("opened", ["light"], indirect=True)
def test_a_click_sorts_by_numbers_and_a_second_one_the_other_way(opened):
    button = opened.get_by_role("region", name="All variants").get_by_role("button", name="speedup")
    heading = opened.locator("#table-variants th:has(button)", has_text="speedup")
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(opened, "variants", 4)[:2] == ["1.00x (1.00-1.00)", "1.70x (1.70-1.70)"]
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert first_column(opened, "variants")[0] == "refused"
    assert first_column(opened, "variants")[-1] == "failed", "what has no value stays at the end"
    assert (
        opened.locator("#sorted").inner_text() == "All variants, and full precision: by speedup (p10-p90), descending"
    )


@pytest.mark.parametrize("opened", ["light"], indirect=True)
def test_the_keyboard_sorts(opened):
    opened.locator("#table-variants thead button").first.focus()
    assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.keyboard.press("Enter")
    names = first_column(opened, "variants")
    assert names == sorted(names, key=str.casefold)
    opened.keyboard.press("Space")
    assert first_column(opened, "variants") == names[::-1]
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "gates"
    opened.keyboard.press("Space")
    assert opened.locator("#table-variants th[aria-sort]").count() == 1


@pytest.mark.parametrize("opened", ["light"], indirect=True)
def test_the_first_stop_skips_to_the_report(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert opened.evaluate("document.activeElement.getBoundingClientRect().left") >= 0


@pytest.mark.parametrize("opened", ["dark"], indirect=True)
def test_print_is_dark_on_white(opened):
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.locator("nav").is_visible() is False
