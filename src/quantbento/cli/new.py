"""A project of the user's own: `quantbento new FOLDER`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    new = commands.add_parser("new", help="write a project of your own: a recipe, a small model, a service, tests")
    new.add_argument("folder", type=Path, help="new or empty; the project gets its name")
    new.set_defaults(run=_new)


def _new(arguments: argparse.Namespace) -> int:
    from quantbento.packing.new_project import create

    name = create(arguments.folder)
    go = "" if arguments.folder.resolve() == Path.cwd() else f"  cd {shlex.quote(str(arguments.folder))}\n"
    print(
        f"wrote {arguments.folder}: README.md says what is in it. Next:\n{go}"
        f"  python save_models.py configs/{name}.yaml\n  quantbento serve {name}-onnx-int8\n  pytest"
    )
    return 0
