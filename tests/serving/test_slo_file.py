"""Objectives are read from YAML, with every problem in one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from quantbento.serving.settings import ServiceSettings
from quantbento.serving.slo_file import SloError, read_objectives
from tests.conftest import ROOT

EXAMPLE = ROOT / "deploy" / "slo.yaml"
DAYS = 86_400


def file_of(folder: Path, objectives: str, version: int = 1) -> Path:
    file = folder / "slo.yaml"
    file.write_text(f"schema_version: {version}\nobjectives:\n{objectives}")
    return file


def problems(file: Path) -> list[str]:
    with pytest.raises(SloError) as raised:
        read_objectives(file)
    return str(raised.value).splitlines()


def test_the_example_has_all_three():
    objectives = read_objectives(EXAMPLE)
    assert (objectives.availability.target, objectives.availability.window) == (0.999, 30 * DAYS)
    assert (objectives.error_rate.target, objectives.latency_p95.target) == (0.001, 0.25)


def test_one_is_enough(tmp_path):
    objectives = read_objectives(file_of(tmp_path, "  latency_p95: {target: 2, window: 4w}\n"))
    assert (objectives.latency_p95.target, objectives.latency_p95.window) == (2, 28 * DAYS)
    assert objectives.availability is None


def test_every_problem_is_told_with_its_line(tmp_path):
    wrong = "  availability:\n    target: 99.9\n    window: 30\n  eror_rate: {target: 0.1, window: 7d}\n"
    wrong += "  latency_p95:\n    window: 6d\n    limit: 3\n"
    first, *told = problems(file_of(tmp_path, wrong, version=2))
    assert first.startswith("7 problems in ")
    assert told == [
        "  - line 1: schema_version: input should be less than or equal to 1, not 2",
        "  - line 4: objectives.availability.target: input should be less than 1, not 99.9",
        "  - line 5: objectives.availability.window: a window is of days or weeks, from 7d to 90d, such as 30d or 4w, "
        "not 30",
        "  - line 6: objectives.eror_rate: unknown key; did you mean 'error_rate'?",
        "  - line 7: objectives.latency_p95.target: is required",
        "  - line 8: objectives.latency_p95.window: a window is of days or weeks, from 7d to 90d, such as 30d or 4w, "
        "not '6d'",
        "  - line 9: objectives.latency_p95.limit: unknown key (allowed: 'target' or 'window')",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read: while parsing"),
        ("- 1", "valid dictionary"),
        ("", "valid dictionary"),
        ("schema_version: 1\nobjectives: {}", "there is none; allowed: 'availability'"),
    ],
    ids=["not YAML", "a list", "empty", "no objective"],
)
def test_what_is_no_such_file_is_refused(tmp_path, text, said):
    file = tmp_path / "slo.yaml"
    file.write_text(text)
    assert said in "\n".join(problems(file))


def test_a_service_is_not_started_with_a_wrong_file(tmp_path):
    with pytest.raises(ValidationError, match="no such file"):
        ServiceSettings(slo_file=tmp_path / "gone.yaml")
    assert (
        "line 4: objectives.availability.target"
        in ServiceSettings.of(
            {"slo_file": str(file_of(tmp_path, "  availability:\n    target: 1.5\n    window: 30d\n"))}
        ).problem
    )
    assert ServiceSettings(slo_file=EXAMPLE).slo_file == EXAMPLE
