"""The rooms of the library, and who may import whom: arrows point down only, and there is no circle.

Serving needs neither recipes nor quantizers nor another runtime's packages, so an image can leave them out.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "quantbento"
# Each room with the rooms that it may import, from top to bottom. No other arrow is allowed.
MAY_IMPORT = {
    "cli": {"making", "judging", "judging.report", "packing", "serving", "store", "core"},
    "making": {"judging", "judging.report", "quantizers", "store", "inputs", "tasks", "runtimes", "recipe", "core"},
    "judging.report": {"judging", "recipe", "core"},
    "judging": {"inputs", "tasks", "runtimes", "recipe", "core"},
    "quantizers": {"inputs", "tasks", "runtimes", "core"},
    "packing": {"serving", "store", "runtimes", "recipe", "core"},
    "serving": {"store", "tasks", "runtimes", "core"},
    "store": {"runtimes", "recipe", "core"},
    "inputs": {"runtimes", "tasks", "recipe", "core"},
    "runtimes": {"tasks", "core"},
    "tasks": {"recipe", "core"},
    "recipe": {"core"},
    "core": set(),
}
MOST_LINES, MEDIAN_LINES, MOST_AT_THE_TOP = 300, 100, 14
NEVER = {"torch", "transformers", "onnx", "onnxscript", "peft", "datasets", "sklearn"}
NOT_SERVING = {"recipe", "inputs", "quantizers", "judging", "making", "packing", "cli"}


def modules() -> dict[str, Path]:
    """Every module of the library by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[str]:
    """What a module imports of the library, also inside functions and for annotations only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        else:
            yield from imports(node)


@cache
def arrows() -> dict[str, set[str]]:
    """The modules of the library that each of its modules imports."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
    return {name: {i for i in imports(tree) if i in MODULES and i != name} for name, tree in trees.items()}


def room(module: str) -> str | None:
    """The room of a module; None for the package itself, which imports on first use."""
    parts = module.split(".")[1:]
    return "judging.report" if parts[:2] == ["judging", "report"] else parts[0] if parts else None


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_imports_only_rooms_below_it(name):
    found = {
        (module, imported)
        for module, all_imported in arrows().items()
        if room(module) == name
        for imported in all_imported
        if room(imported) not in {None, name, *MAY_IMPORT[name]}
    }
    assert found == set()


def test_the_table_is_the_house_and_its_arrows_point_down():
    assert {room(module) for module in MODULES} - {None} == MAY_IMPORT.keys()
    order = list(MAY_IMPORT)
    assert all(order.index(below) > order.index(name) for name, allowed in MAY_IMPORT.items() for below in allowed)
    drawn = {(room(a), room(b)) for a, imported in arrows().items() for b in imported}
    assert {(a, b) for a, allowed in MAY_IMPORT.items() for b in allowed} - drawn == set(), "allowed, and not needed"


def test_an_arrow_that_points_up_is_found():
    tree = ast.parse("def later():\n    from quantbento.making import plan\n    from quantbento.store import find\n")
    assert list(imports(tree)) == ["quantbento.making.plan", "quantbento.store"]


def test_no_modules_import_each_other():
    graph = {name: {i for i in imported if room(i)} for name, imported in arrows().items()}
    while leaves := {name for name, imported in graph.items() if not imported & graph.keys()}:
        graph = {name: imported for name, imported in graph.items() if name not in leaves}
    assert {name: imported & graph.keys() for name, imported in graph.items()} == {}


def test_the_house_is_small_enough_to_find_ones_way():
    top = [p.name for p in SOURCE.iterdir() if p.name != "__pycache__"]
    assert len(top) <= MOST_AT_THE_TOP, sorted(top)
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
    assert statistics.median(lines.values()) <= MEDIAN_LINES


def loaded(code: str, home) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT,
        env={"BENTOML_HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("quantbento.")}


@pytest.mark.slow
def test_serving_an_onnx_model_loads_neither_torch_nor_the_pipeline(served_home):
    code = "import quantbento, service; assert len(quantbento.load('tiny-encoder-onnx-int8')(['the film'])) == 1"
    modules = loaded(code, served_home)
    assert "onnxruntime" in modules
    assert modules & NEVER == set()
    assert rooms(modules) & NOT_SERVING == set()


def test_the_package_itself_imports_nothing(tmp_path):
    modules = loaded("import quantbento; quantbento.__version__", tmp_path)
    assert modules & (NEVER | {"numpy", "pydantic", "bentoml", "onnxruntime", "rich"}) == set()
    assert rooms(modules) == set()
