"""What `quantbento models` prints about each stored model, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from quantbento import store
from quantbento.cli.output.models import described, print_models, print_models_json
from quantbento.judging.rows import VariantRow
from quantbento.store import aliases, manifest
from tests.judging.report.test_console import FAILED, LONGEST, PASSED, measured, on_terminal
from tests.store.test_models import flip, write_artifact

RECIPE = {"name": "demo", "task": "tensor"}
OF_THE_SAVE = {"recipe": "demo", "task": "tensor", "passed": "true"}


@pytest.fixture
def made(tmp_path, bento_home):
    return write_artifact(tmp_path / "artifact")


def save(made, row: VariantRow | None, name: str = "demo", labels: dict[str, str] | None = None) -> store.StoredModel:
    content = {"recipe": RECIPE} | ({"variant": asdict(row)} if row else {})
    return store.save(name, made, content, OF_THE_SAVE | (labels or {}), {})


def rows(capsys) -> list[dict[str, str]]:
    """The printed table, one dictionary per line."""
    lines = [
        [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]
        for line in capsys.readouterr().out.splitlines()
        if line[0] in "│┃"
    ]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def objects(capsys, *models: store.StoredModel) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    print_models_json(models)
    return json.loads(capsys.readouterr().out, parse_constant=refuse)


def test_the_table_has_a_line_a_model(made, capsys):
    model = save(made, measured(gates=[PASSED], passed=True), labels={"team": "search", "note": "[red]x"})
    aliases.promote(model.tag, "production")
    aliases.promote(model.tag, "1.2.0")
    print_models([model])
    assert rows(capsys) == [
        {
            "tag": model.tag,
            "aliases": "1.2.0, production",
            "scheme": "int8-dynamic",
            "runtime": "onnx",
            "recovery": "0.9976 (accuracy)",
            "size": "0.2 MB",
            "ratio": "0.250",
            "speedup": "1.50x (1.40-1.60)",
            "gates": "passed 1",
            "digest": model.digest[:19],
            "labels": "team=search, note=[red]x",
            "created": model.created[:19],
        }
    ]


def test_aliases_and_labels_have_no_column_where_nobody_has_any(made, capsys):
    print_models([save(made, measured(gates=[FAILED]))])
    [row] = rows(capsys)
    assert not {"aliases", "labels"} & row.keys()
    assert row["gates"] == "failed: speedup"


@pytest.mark.parametrize(
    ("metrics", "primary"),
    [
        ({"accuracy": 0.9, "sqnr_db": 30.0}, "accuracy"),
        ({"sqnr_db": 30.0, "max_error": 0.1}, "sqnr_db"),
        ({"max_error": 0.1}, None),
    ],
    ids=["labelled", "not-labelled", "neither"],
)
def test_the_recovery_shown_is_of_the_tasks_first_metric_that_was_measured(made, capsys, metrics, primary):
    row = measured()
    row.metrics, row.recovery = metrics, dict.fromkeys(metrics, 0.5)
    model = save(made, row)
    assert described(model)["primary"] == primary
    print_models([model])
    assert rows(capsys)[0]["recovery"] == (f"0.5000 ({primary})" if primary else "-")


def test_json_has_everything(made, capsys):
    row = measured(gates=[PASSED, FAILED], passed=False)
    model = save(made, row, labels={"team": "search"})
    aliases.promote(model.tag, "production", force=True)
    [found] = objects(capsys, model)
    figures = {k: v for k, v in asdict(row).items() if k not in ("name", "tag", "reused", "error")}
    assert figures["gates"] == [PASSED, FAILED]
    assert found == {
        "tag": model.tag,
        "name": "demo",
        "version": model.path.name,
        "aliases": ["production"],
        "digest": model.digest,
        "created": model.created,
        "labels": {"team": "search"},
        "recipe": "demo",
        "task": "tensor",
        "primary": "accuracy",
        "variant": "int8",
        "error": None,
        **json.loads(json.dumps(figures)),
    }
    assert len(found["digest"]) == len("sha256:") + 64


def test_nan_and_infinity_are_null_in_json(made, capsys):
    row = measured()
    row.metrics = {"sqnr_db": float("inf"), "accuracy": float("nan"), "agreement": 1.0}
    [found] = objects(capsys, save(made, row))
    assert found["metrics"] == {"sqnr_db": None, "accuracy": None, "agreement": 1.0}


def test_damaged_models_have_a_line_among_the_others_and_the_same_keys(made, capsys):
    whole, touched, foreign = save(made, measured()), save(made, measured(), "touched"), save(made, None, "foreign")
    flip(touched.path / manifest.MANIFEST)
    models = [touched, foreign, whole]
    print_models(models)
    lines = rows(capsys)
    assert [line["tag"] for line in lines] == [model.tag for model in models]
    assert lines[0]["scheme"].startswith(f"not readable: {touched.tag}: manifest.json")
    assert lines[1]["scheme"].startswith(f"not readable: {foreign.tag} was not made from a")
    assert lines[1]["digest"] == foreign.digest[:19]
    assert lines[2]["scheme"] == "int8-dynamic"
    found = objects(capsys, *models)
    assert len({tuple(one) for one in found}) == 1
    assert "manifest.json" in found[0]["error"]
    assert found[0]["digest"] is found[0]["metrics"] is None
    assert found[1]["digest"] == foreign.digest
    assert found[2]["error"] is None


def test_damaged_labels_or_aliases_do_not_hide_the_figures(made, bento_home, capsys):
    model = save(made, measured(passed=True))
    aliases.promote(model.tag, "production")
    (bento_home / ".quantbento" / "aliases" / "demo.json").write_text("{")
    (model.path / manifest.BENTOML_FILE).unlink()
    print_models([model])
    [row] = rows(capsys)
    assert (row["aliases"], row["labels"], row["created"]) == ("not readable", "not readable", "")
    assert row["scheme"] == "int8-dynamic"
    [found] = objects(capsys, model)
    assert "demo.json" in found["error"]
    assert "model.yaml" in found["error"]
    assert found["aliases"] is found["labels"] is found["created"] is None
    assert found["size_bytes"] == 250_000


def test_a_log_has_the_longest_tag_on_one_line(made, capsys):
    model = save(made, measured(), LONGEST[:63])
    print_models([model])
    assert rows(capsys)[0]["tag"] == model.tag


def test_a_narrow_terminal_loses_no_letter_of_a_tag(made, monkeypatch):
    model = save(made, measured(), LONGEST[:63], {"team": "search"})
    out = on_terminal(monkeypatch, lambda: print_models([model]))
    assert max(map(len, out.splitlines())) <= 80
    cells = [line.strip("│").split("│")[0].strip() for line in out.splitlines() if line.startswith("│")]
    assert "".join(cells) == model.tag
