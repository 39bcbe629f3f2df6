"""What the README tells people to do works, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from quantbento import cli
from quantbento.core import registry
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_every_make_target_it_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_links_exists(page):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_it_is_read_in_five_minutes():
    """One table with few columns, one picture."""
    lines = README.splitlines()
    assert len(lines) <= 120
    assert len([line for line in lines if re.fullmatch(r"\|[-| :]+\|", line)]) == 1
    assert max(line.count("|") - 1 for line in lines if line.startswith("|")) <= 6
    assert len(re.findall(r"!\[", README)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_row_falls_out_of_a_table(page):
    """A blank line inside a table turns the rows after it into text."""
    lines = page.read_text(encoding="utf-8").splitlines()
    before = ""
    for number, line in enumerate(lines):
        if line.startswith("|") and not before.startswith("|"):
            assert re.fullmatch(r"\|[-| :]+\|", lines[number + 1]), f"line {number + 1} is no table's first"
        elif line.startswith("|") and before.startswith("|"):
            assert _cells(line) == _cells(before), f"line {number + 1}"
        before = line


def _cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row)) - 1


@pytest.mark.parametrize("kind", ["task", "quantizer"])
def test_the_page_of_recipes_lists_every_name_that_a_recipe_can_use(kind):
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert [name for name in registry.TABLES[kind] if f"\n| `{name}` |" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_a_page_names_exists_with_its_options(page, capsys):
    text = page.read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    commands = [line.partition("#")[0].split() for line in lines if line.startswith("quantbento ")]
    for _, *words in commands:
        arguments = [word for word in words if not word.startswith("-")]
        group = arguments[: 2 if arguments[0] == "deploy" else 1]
        with pytest.raises(SystemExit) as ended:
            cli.main([*group, "--help"])
        shown = capsys.readouterr().out
        assert ended.value.code == 0
        assert [word for word in words if word.startswith("-") and word.partition("=")[0] not in shown] == []


def test_every_recipe_it_names_is_valid():
    named = set(re.findall(r"configs/[\w-]+\.yaml", README)) - {"configs/yours.yaml"}
    assert named
    for recipe in named:
        done = subprocess.run(
            [sys.executable, "save_models.py", recipe, "--dry-run"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_the_recipe_it_shows_is_valid(tmp_path):
    from quantbento.making.resolve import resolve
    from quantbento.recipe import read_recipe

    shown = [text for language, text in BLOCKS if language == "yaml"]
    assert shown
    for number, text in enumerate(shown):
        for folder in ("my-model", "my-lora"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for samples in ("my-samples.jsonl", "chats.jsonl", "held-out.txt"):
            (tmp_path / samples).write_text('{"text": "a", "label": 0}\n')
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        found, problems = resolve(read_recipe(path))
        assert problems == [] and found is not None and found.variants


def test_every_setting_it_names_exists():
    from quantbento.serving.generation.settings import GenerationSettings
    from quantbento.serving.settings import PREFIX, ServiceSettings

    named = {*re.findall(r"--arg (\w+)=", README), *(v.lower() for v in re.findall(rf"{PREFIX}([A-Z_]+)=", README))} - {
        "name"
    }
    assert named
    assert named <= {*ServiceSettings.model_fields, *GenerationSettings.model_fields}


@pytest.mark.slow
def test_its_python_runs(served_home):
    """With the tiny models instead of the ones it names."""
    code = "\n".join(text for language, text in BLOCKS if language == "python")
    assert "quantbento.load(" in code
    code = code.replace("minilm-l6-v2-onnx-int8", "tiny-encoder-onnx-int8")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"BENTOML_HOME": str(served_home), "PATH": "", "HOME": str(served_home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
