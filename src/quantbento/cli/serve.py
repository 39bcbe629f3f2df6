"""A stored model over HTTP: `quantbento serve TAG`."""

from __future__ import annotations

import argparse
import shlex
import sys

from quantbento.cli.parser import CommandParser

SETTING = "setting "  # before the names of settings, to tell them from the command's own arguments


def add_to(commands: argparse._SubParsersAction) -> None:
    serve = commands.add_parser("serve", help="bentoml serve, with the service that a stored model needs")
    serve.add_argument("tag", nargs="?", help="name, name:version or name:alias; the only stored model by default")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, default=3000, help="default: 3000")
    serve.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the service, as for bentoml serve",
    )
    serve.set_defaults(run=_serve)
    if isinstance(serve, CommandParser):
        serve.more, serve.keeps_rest = _add_settings, True


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """An option for each setting of quantbento's services. Which of them a model's service has, it says itself."""
    from quantbento.serving.generation.settings import GenerationSettings
    from quantbento.serving.settings import ServiceSettings

    group = parser.add_argument_group("settings of the service")
    for name, field in {**ServiceSettings.model_fields, **GenerationSettings.model_fields}.items():
        if name != "model":
            option, said = f"--{name.replace('_', '-')}", (field.description or "").replace("%", "%%")
            group.add_argument(option, dest=SETTING + name, metavar="VALUE", help=said)


def _serve(arguments: argparse.Namespace) -> int:
    from quantbento.serving.command import serve_command

    given = {name: value for name, value in vars(arguments).items() if name.startswith(SETTING) and value is not None}
    given = {name.removeprefix(SETTING): value for name, value in given.items()}
    command = serve_command(arguments.tag, given | _named(arguments), arguments.host, arguments.port)
    if command.failed_gates:
        print(f"warning: {command.tag} did not pass its gates: {'; '.join(command.failed_gates)}", file=sys.stderr)
    if command.chosen:
        print(f"{arguments.tag} is {command.tag}: {command.chosen}")
    print(f"{command.tag}: {command.task} on {command.runtime}, at http://{arguments.host}:{arguments.port}")
    print(f"$ {shlex.join(command.arguments)}", flush=True)
    command.run()
    return 0


def _named(arguments: argparse.Namespace) -> dict[str, str]:
    """Settings by `--arg name=value`, and options that are none of quantbento's: a service of the user's own may have
    settings of its own."""
    from quantbento.core.errors import QuantbentoError

    pairs, rest = list(arguments.arg), list(arguments.rest)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if not option.startswith("--") or not (equals or rest):
            raise QuantbentoError(f"{option!r} is no setting with a value; allowed: --name value, after one TAG")
        pairs.append(f"{option[2:].replace('-', '_')}={value if equals else rest.pop(0)}")
    named = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name == "model":
            raise QuantbentoError(f"{pair!r} is no setting; allowed: --arg name=value, and the model as TAG")
        named[name] = value
    return named
