"""The Makefile, the hooks, the CI workflow and the changelog agree with each other."""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from pre_commit.clientlib import load_config

import quantbento
from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOOKS = ROOT / ".pre-commit-config.yaml"
WORKFLOW = ROOT / ".github/workflows/ci.yml"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "docs/benchmarks.md"]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]  # in this order


def targets() -> dict[str, str]:
    """The Makefile's targets and the commands of each, on one line."""
    rules = re.findall(r"(?m)^([a-z][a-z-]*):.*\n((?:\t.*\n)*)", MAKEFILE)
    return {name: recipe.replace("\\\n", " ").replace("$(BIN)", ".venv/bin") for name, recipe in rules}


def programs(commands: str) -> set[str]:
    """The environment's programs that are run: `ruff check`, `ruff format`, `mypy`."""
    return {" ".join(found.split()) for found in re.findall(r"\.venv/bin/(\w+(?: (?:check|format))?)", commands)}


def test_every_target_is_phony_and_the_help_names_only_targets():
    phony = re.search(r"(?m)^\.PHONY: (.*)$", MAKEFILE)[1].split()
    assert set(phony) == set(targets())
    named = re.findall(r"\bmake ([a-z-]+)", MAKEFILE.partition("PYTHON ?=")[0])
    assert {"test", "test-quick", "check", "demo"} <= set(named) <= set(targets())


def quick() -> str:
    """The markers' expression that the quick tests are chosen by."""
    return re.search(r"(?m)^QUICK\s*:= (.*)$", MAKEFILE)[1]


def test_the_quick_tests_are_those_without_a_marker():
    """If a marker is not left out there, a server or an engine runs in the quick loop."""
    markers = {m.partition(":")[0] for m in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    [expression] = re.findall(r'-m "(.*)"', targets()["test-quick"].replace("$(QUICK)", quick()))
    assert {term.removeprefix("not ") for term in expression.split(" and ")} == markers
    assert all(term.startswith("not ") for term in expression.split(" and "))


def test_make_test_leaves_nothing_out():
    """Those that can share the cores run first, and then all others, also where one of the first fails."""
    expressions = re.findall(r'-m pytest.*? -m "(.*?)" \|\| failed=1;', targets()["test"])
    assert expressions == ["not alone", "alone"]
    assert targets()["test"].rstrip().endswith("exit $$failed")
    assert set(re.findall(r"\$\(([A-Z]+)\)", targets()["test"])) == {"PARALLEL", "ALONE"}
    [pattern] = re.findall(r"(?m)^ALONE +:= \$\$\(grep -rl --include='\*\.py' '(.*)' tests\)$", MAKEFILE)
    assert re.search(pattern, f"@pytest.mark.{expressions[1]}")
    assert not re.search(r"-m |-k |--ignore|--deselect", PROJECT["tool"]["pytest"]["ini_options"]["addopts"])


def test_the_hooks_are_local_and_the_checks_of_make_check():
    load_config(str(HOOKS))  # refuses what pre-commit cannot read
    config = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    run = {program for hook in hooks for program in programs(hook["entry"])}
    assert run == programs(targets()["check"]) == {"ruff check", "ruff format", "mypy"}
    for hook in hooks:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
        assert (Path(sys.executable).parent / Path(program).name).is_file()


def test_the_workflow_runs_make_targets_with_the_oldest_python_on_cpus():
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["env"]["TORCH_BACKEND"] == "cpu"
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    run = [step["run"].split() for step in steps if "run" in step]
    assert all(command[0] == "make" and len(command) == 2 for command in run)
    assert {"check", "test-quick", "test"} == {target for _, target in run} <= set(targets())
    for job in workflow["jobs"].values():
        [python] = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
        assert f">={python['with']['python-version']}" == PROJECT["project"]["requires-python"]


def test_the_changelog_starts_with_this_version():
    versions = re.findall(r"(?m)^## \[(\d[^\]]*)\] - (\S+)$", CHANGELOG)
    assert len(versions) == len(re.findall(r"(?m)^## \[\d", CHANGELOG))
    assert versions[0][0] == quantbento.__version__ == PROJECT["project"]["version"]
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions]
    days = [date.fromisoformat(day) for _, day in versions]
    assert numbers == sorted(set(numbers), reverse=True)
    assert days == sorted(days, reverse=True)


def test_a_version_says_what_kind_each_change_is():
    for section in re.split(r"(?m)^## ", CHANGELOG)[1:]:
        kinds = re.findall(r"(?m)^### (.*)$", section)
        assert kinds
        assert kinds == [kind for kind in KINDS if kind in kinds]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_files_and_sections_that_exist(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert links
    for link in links:
        path, _, section = link.partition("#")
        assert (page.parent / path).exists(), link
        if section:
            titles = re.findall(r"(?m)^#+ (.*)$", (page.parent / path).read_text(encoding="utf-8"))
            assert section in [title.lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_make_targets_and_files_that_exist(page):
    text = page.read_text(encoding="utf-8")
    commands = "\n".join(_code(text))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", commands)) <= set(targets())
    for path in re.findall(r"\b(?:configs|tests|docs|src)/[\w./-]*", commands):
        assert (ROOT / path).exists(), path
    for program in re.findall(r"\.venv/bin/([\w-]+)", commands):
        assert (Path(sys.executable).parent / program).is_file(), program


def _code(text: str) -> list[str]:
    """What stands in blocks of shell commands and between backticks."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]
