"""What is in the model store: `quantbento models`, `verify`, `delete`, `label`, and the commands on aliases."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    models = commands.add_parser("models", help="list what is stored")
    models.add_argument("name", nargs="?", help="a model's name; all by default")
    models.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    models.set_defaults(run=_models)
    verify = commands.add_parser("verify", help="check stored files against their manifest, and aliases")
    verify.add_argument("tag", nargs="*", help="name, name:version or name:alias; everything by default")
    verify.add_argument(
        "--trusted-key",
        action="append",
        default=[],
        metavar="NAME.pub.pem",
        help="check signatures too: with this public key, or another that is given so",
    )
    verify.set_defaults(run=_verify)
    promote = commands.add_parser("promote", help="point name:ALIAS to a stored version from now on")
    promote.add_argument("tag", help="name:version, name for the latest, or name:alias for that alias's version")
    _add_alias(promote)
    promote.add_argument("--force", action="store_true", help="promote even if a gate failed, or without judging")
    promote.set_defaults(run=_promote)
    rollback = commands.add_parser("rollback", help="point name:ALIAS back to its previous version")
    rollback.add_argument("name", help="a model's name")
    _add_alias(rollback)
    rollback.set_defaults(run=_rollback)
    retire = commands.add_parser("retire", help="let name:ALIAS point to nothing")
    retire.add_argument("name", help="a model's name")
    _add_alias(retire)
    retire.set_defaults(run=_retire)
    history = commands.add_parser("history", help="what a model's aliases pointed to, oldest first")
    history.add_argument("name", help="a model's name")
    history.add_argument("--as", dest="alias", metavar="ALIAS", help="this alias only")
    history.set_defaults(run=_history)
    label = commands.add_parser("label", help="set and remove labels of a stored model")
    label.add_argument("tag", help="name, name:version or name:alias")
    label.add_argument("changes", nargs="+", metavar="key=value", help="key= removes the label")
    label.set_defaults(run=_label)
    delete = commands.add_parser("delete", help="remove a stored model")
    delete.add_argument("tag", help="name:version")
    delete.add_argument("-y", "--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=_delete)


def _add_alias(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as", dest="alias", metavar="ALIAS", required=True, help="for example production, or 1.2.0")
    parser.add_argument("--reason", metavar="TEXT", help="kept in the history")


def _models(arguments: argparse.Namespace) -> int:
    from quantbento.cli.output.models import print_models, print_models_json
    from quantbento.store import models

    found = models(arguments.name)
    if arguments.output == "json":
        print_models_json(found)
    elif found:
        print_models(found)
    else:
        what = f"no model {arguments.name!r} is stored" if arguments.name else "the model store is empty"
        print(f"{what}; save one with: python save_models.py configs/<recipe>.yaml")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from quantbento import store
    from quantbento.core.errors import StoreError
    from quantbento.store import aliases, signing
    from quantbento.store.alias_file import DanglingAlias

    keys = list(map(Path, arguments.trusted_key))
    found, problems = [], [] if arguments.tag else aliases.problems()
    for tag in arguments.tag:
        try:
            found.append(store.find(tag))
        except DanglingAlias as error:
            problems.append(str(error))
    damaged = len(problems)
    for model in found if arguments.tag else store.models():
        try:
            files = model.verify()["files"]
            by = f", signed: {signing.check(model.path, model.tag, keys)}" if keys else ""
            print(f"ok       {model.tag}  {len(files)} files{by}")
        except signing.NotTrusted as error:
            damaged += 1
            print(f"refused  {error}")
        except StoreError as error:
            damaged += 1
            print(f"damaged  {error}")
    for problem in problems:
        print(f"damaged  {problem}")
    return 1 if damaged else 0


def _promote(arguments: argparse.Namespace) -> int:
    from quantbento.store import aliases

    moved = aliases.promote(arguments.tag, arguments.alias, arguments.reason, arguments.force)
    before = "new" if moved.before is None else "as before" if moved.before == moved.after else f"was {moved.before}"
    print(f"{moved.alias} is {moved.after} ({before})")
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    from quantbento.store import aliases

    moved = aliases.rollback(arguments.name, arguments.alias, arguments.reason)
    for tag in moved.skipped:
        print(f"skipped {tag}: it was deleted")
    print(f"{moved.alias} went back from {moved.before or 'nothing'} to {moved.after}")
    return 0


def _retire(arguments: argparse.Namespace) -> int:
    from quantbento.store import aliases

    print(
        f"{arguments.name}:{arguments.alias} stands for nothing now; it was "
        f"{aliases.retire(arguments.name, arguments.alias, arguments.reason)}"
    )
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from quantbento.store import aliases

    found = aliases.history(arguments.name, arguments.alias)
    if not found:
        print(f"{arguments.name} has no alias; set one with: quantbento promote {arguments.name} --as production")
    width = max(map(len, found), default=0)
    lines = [(alias, event) for alias, events in found.items() for event in events]
    for alias, event in sorted(lines, key=lambda line: line[1].time):
        notes = " ".join(filter(None, ["(forced)" if event.forced else "", event.reason]))
        print(f"{event.time}  {alias:{width}}  {event.action:11}  {event.version}  {notes}".rstrip())
    return 0


def _label(arguments: argparse.Namespace) -> int:
    from quantbento.store import labels

    tag, found = labels.change(arguments.tag, arguments.changes)
    print(f"{tag}: {', '.join(f'{key}={value}' for key, value in found.items()) or 'no labels of yours'}")
    return 0


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
