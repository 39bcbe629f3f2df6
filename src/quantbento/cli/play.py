"""One or two stored models on a page: `quantbento play TAG [TAG]`."""

from __future__ import annotations

import argparse


def add_to(commands: argparse._SubParsersAction) -> None:
    play = commands.add_parser("play", help="try a stored model on a page, or two side by side")
    play.add_argument("tag", nargs="+", help="name, name:version or name:alias; one, or two for one task")
    play.add_argument("--port", type=int, default=3000, help="of the page, at 127.0.0.1 (default: 3000)")
    play.add_argument("--open", action="store_true", help="open the page in the browser")
    play.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the services, as for quantbento serve",
    )
    play.set_defaults(run=_play)


def _play(arguments: argparse.Namespace) -> int:
    from quantbento.serving.playground.play import check, play

    given = dict(_setting(pair) for pair in arguments.arg)
    for command in check(arguments.tag, given, arguments.port):
        print(f"starting {command.tag}: {command.task} on {command.runtime}", flush=True)

    def ready(address: str) -> None:
        print(f"{address} (Ctrl-C ends it)", flush=True)
        if arguments.open:
            import webbrowser

            webbrowser.open(address)

    play(arguments.tag, given, arguments.port, ready)
    return 0


def _setting(pair: str) -> tuple[str, str]:
    from quantbento.core.errors import QuantbentoError

    name, equals, value = pair.partition("=")
    if not equals or name in ("model", ""):
        raise QuantbentoError(f"{pair!r} is no setting; allowed: --arg name=value, and the models as TAG")
    return name, value
