"""The page has every section that there are data for and no other, and holds nobody's markup but its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.report import document, page, plots
from tests.judging.report import written

EVERY_TABLE = {
    *("variants", "gates", "costs", "metrics", "lm-eval", "divergence", "groups", "worst", "grid", "ratios"),
    *("generation", "served", "robustness", "layers-int8", "attention-int8", "mixed", "ablation", "quantized"),
    *("provenance", "environment"),
}
EVERY_PLOT = {"pareto", "bars", "throughput", "latency", "load", "sensitivity-int8"}


class Parsed(HTMLParser):
    """The tags of a page with their attributes, and the levels of its headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    @property
    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.tags if "id" in a]


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> str:
    report = written.write_full(tmp_path_factory.mktemp("full"))
    found = page.write(report)
    assert found.notes == []
    return found.path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(full, tmp_path_factory):
    return next(p for p in tmp_path_factory.getbasetemp().iterdir() if p.name.startswith("full"))


def tables(html: str) -> set[str]:
    return {i.removeprefix("table-") for i in Parsed(html).ids if i.startswith("table-")}


def test_every_kind_of_data_has_its_table(full):
    assert tables(full) == EVERY_TABLE


def test_plots_are_in_the_page_and_beside_it(full, folder):
    assert full.count("<svg ") == 2 * len(EVERY_PLOT)
    files = {p.name for p in (folder / "plots").iterdir()}
    assert files == {f"{name}.{suffix}" for name in EVERY_PLOT for suffix in ("svg", "png")}
    assert (folder / "plots" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "var(--" not in (folder / "plots" / "pareto.svg").read_text()


def test_colours_of_plots_follow_the_theme(full):
    svg = "".join(re.findall(r"<svg .*?</svg>", full, re.DOTALL))
    assert "var(--ink)" in svg
    assert "var(--refused)" in svg
    assert "#0a0b" not in full


def test_ids_are_unique_and_links_lead_to_them(full):
    parsed = Parsed(full)
    assert len(parsed.ids) == len(set(parsed.ids))
    linked = {a["href"] for tag, a in parsed.tags if tag == "a"}
    assert linked <= {f"#{i}" for i in parsed.ids}
    assert set(re.findall(r"url\(#([^)]*)\)", full)) <= set(parsed.ids)


def test_headings_are_in_order(full):
    levels = [int(tag[1]) for tag, _ in Parsed(full).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_names_and_errors_are_escaped(full):
    assert "<script>alert" not in full
    assert full.count("<script") == 1
    assert "&lt;script&gt;alert" in full


def test_nothing_is_fetched(full):
    assert "://" not in re.sub(r"http://(x|www\.w3\.org/2000/svg)\b", "", full)
    assert not {"link", "img", "iframe"} & {tag for tag, _ in Parsed(full).tags}
    assert "default-src 'none'" in full


def test_an_older_report_has_the_sections_that_it_can_have(tmp_path):
    html = page.write(written.write(tmp_path, written.old_report())).path.read_text(encoding="utf-8")
    assert tables(html) == {"variants", "gates", "metrics", "quantized", "provenance", "environment"}
    assert "keeps 99.0 % of its quality (mean cosine)" in html


def test_a_report_without_any_figure_is_a_page_too(tmp_path):
    report = {"schema_version": 1, "recipe": "demo", "variants": [], "baseline": None}
    html = page.write(written.write(tmp_path, report)).path.read_text(encoding="utf-8")
    assert "No variant was made." in html
    assert tables(html) == set()


def test_without_altair_there_is_a_page_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "missing_packages", lambda names: ["altair"])
    found = page.write(written.write(tmp_path, written.old_report()))
    assert found.notes == ["plots need altair: pip install 'quantbento[quantize]'"]
    html = found.path.read_text(encoding="utf-8")
    assert "There are no plots: plots need altair: pip install &#39;quantbento[quantize]&#39;" in html
    assert not (tmp_path / "plots").exists()


def test_plots_of_an_earlier_report_are_removed(tmp_path):
    report = written.write(tmp_path, written.old_report())
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "sensitivity-gone.svg").write_text("<svg/>")
    page.write(report)
    assert not (tmp_path / "plots" / "sensitivity-gone.svg").exists()


def test_a_damaged_file_beside_it_is_named(tmp_path):
    report = written.write(tmp_path, written.old_report())
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(QuantbentoError, match=r"bench.json is no JSON"):
        document.read(report)
