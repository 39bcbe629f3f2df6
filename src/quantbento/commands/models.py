"""What is in the model store: `quantbento models`, `verify`, `delete`."""

from __future__ import annotations

import argparse
import sys


def add_to(commands: argparse._SubParsersAction) -> None:
    models = commands.add_parser("models", help="list what is stored")
    models.add_argument("name", nargs="?", help="of a model; all by default")
    models.set_defaults(run=_models)
    verify = commands.add_parser("verify", help="check stored files against their manifest")
    verify.add_argument("tag", nargs="*", help="name or name:version; every model by default")
    verify.set_defaults(run=_verify)
    delete = commands.add_parser("delete", help="remove a stored model")
    delete.add_argument("tag", help="name:version")
    delete.add_argument("-y", "--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=_delete)


def _models(arguments: argparse.Namespace) -> int:
    from quantbento.report.console import print_models
    from quantbento.store import models

    found = models(arguments.name)
    if not found:
        what = f"no model {arguments.name!r} is stored" if arguments.name else "the model store is empty"
        print(f"{what}; save one with: python save_models.py configs/<recipe>.yaml")
        return 0
    print_models(found)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from quantbento import store
    from quantbento.errors import StoreError

    damaged = 0
    for model in [store.find(tag) for tag in arguments.tag] or store.models():
        try:
            files = model.verify()["files"]
            print(f"ok       {model.tag}  {len(files)} files")
        except StoreError as error:
            damaged += 1
            print(f"damaged  {error}")
    return 1 if damaged else 0


def _delete(arguments: argparse.Namespace) -> int:
    from quantbento import store

    tag = store.find(arguments.tag).tag
    if not arguments.yes:
        if not sys.stdin.isatty():
            print(f"error: delete {tag} asks before it removes anything; add --yes", file=sys.stderr)
            return 2
        if input(f"delete {tag}? [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    print(f"deleted {store.delete(tag)}")
    return 0
