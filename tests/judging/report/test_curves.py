"""What the curves and the heat map are drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbento.judging.report import curves
from quantbento.judging.report.document import Document
from tests.judging.report.written import sensitivity


def values(chart: Any) -> list[dict[str, Any]]:
    return chart.to_dict()["data"]["values"]


def test_the_blocks_of_one_stack_are_numbers_in_the_models_order():
    found = sensitivity()
    found["layers"] += [
        {"name": "node_e", "module": "embeddings", "block": "", "kind": "words", "drop": 0.1, "order": -1}
    ]
    chart = curves.heat_map(found, 800)
    assert list(dict.fromkeys(row["block"] for row in values(chart))) == ["-", "0", "1", "2"]
    assert chart.to_dict()["encoding"]["x"]["sort"] == ["-", "0", "1", "2"]
    assert list(dict.fromkeys(row["role"] for row in values(chart))) == ["words", "query", "output"]
    assert values(chart)[1]["name"] == "encoder.layer.0.query"


def test_the_blocks_of_two_stacks_keep_their_names():
    found = sensitivity()
    decoder = [layer | {"block": layer["block"].replace("encoder", "decoder")} for layer in found["layers"]]
    blocks = {row["block"] for row in values(curves.heat_map(found | {"layers": found["layers"] + decoder}, 800))}
    assert blocks == {f"{stack}.layer.{number}" for stack in ("encoder", "decoder") for number in range(3)}


def document(*tags: str) -> Document:
    """Two lengths and batches of each tag."""
    cells = [
        {"batch": b, "length": n, "throughput": 100.0, "interval": [90.0, 110.0], "latency_ms": {"p50": 3.0}}
        for b in (1, 8)
        for n in (16, 64)
    ]
    return Document(Path("report.json"), {}, bench={"models": [{"tag": tag, "grid": cells} for tag in tags]})


def test_the_interval_of_the_throughput_is_not_drawn_at_the_latency():
    assert "low:Q" not in str(curves.latency(document("a:1"), 800).to_json())
    drawn = curves.throughput(document("a:1"), 800).to_dict()
    assert any(layer["encoding"]["y"].get("field") == "low" for panel in drawn["concat"] for layer in panel["layer"])
    drawn = curves.latency(document("a:1"), 800).to_dict()
    assert all(layer["encoding"]["y"].get("field") == "p50" for panel in drawn["concat"] for layer in panel["layer"])


def test_a_version_is_shown_where_two_of_a_name_were_measured():
    def names(*tags: str) -> list[str]:
        return curves.throughput(document(*tags), 800).to_dict()["concat"][0]["layer"][0]["encoding"]["color"]["scale"][
            "domain"
        ]

    assert names("a:1", "b:2") == ["a", "b"]
    assert names("a:1", "a:2", "b:2") == ["a:1", "a:2", "b"]
