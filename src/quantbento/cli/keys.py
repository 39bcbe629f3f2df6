"""Keys that clients of a service need: `quantbento keys add`, `remove` and `list`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    keys = commands.add_parser("keys", help="API keys of a service: add, remove and list those of a file")
    actions = keys.add_subparsers(required=True, metavar="action")
    add = actions.add_parser("add", help="make a key, print it once, and add its hash to a file")
    add.add_argument("file", type=Path, metavar="FILE", help="setting `api_keys_file` of services; may be new")
    add.add_argument("name", metavar="NAME", help="who the key is for; logs show it instead of the key")
    add.set_defaults(run=_add)
    remove = actions.add_parser("remove", help="let a key be valid no longer")
    remove.add_argument("file", type=Path, metavar="FILE")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=_remove)
    listed = actions.add_parser("list", help="the names of a file's keys")
    listed.add_argument("file", type=Path, metavar="FILE")
    listed.set_defaults(run=_list)


def _add(arguments: argparse.Namespace) -> int:
    from quantbento.serving import key_file

    key = key_file.add(arguments.file, arguments.name)
    print(f"added {arguments.name} to {arguments.file}, as a hash; the key is shown this once:", file=sys.stderr)
    print(key)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from quantbento.serving import key_file

    key_file.remove(arguments.file, arguments.name)
    print(f"removed {arguments.name} from {arguments.file}; services that run refuse its key within a second or two")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from quantbento.serving import key_file

    names = key_file.read(arguments.file)
    print("\n".join(names) or f"no keys; add one with: quantbento keys add {arguments.file} NAME")
    return 0
