"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from quantbento import __version__
from quantbento.cli import (
    bench,
    bentos,
    choose,
    deploy,
    doctor,
    init,
    judge,
    keys,
    merge,
    models,
    new,
    play,
    report,
    save,
    sensitivity,
    serve,
    sign,
)
from quantbento.cli.parser import CommandParser

GROUPS = (
    init, save, judge, bench, choose, sensitivity, report, merge,
    models, sign, serve, play, keys, bentos, deploy, doctor, new,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """`quantbento <command>`. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="quantbento",
        description="Quantize, prove, store and inspect models.",
        epilog=save.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"quantbento {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=CommandParser)
    for group in GROUPS:
        group.add_to(commands)
    return _run(parser.parse_args(argv))


def save_models(argv: Sequence[str] | None = None) -> int:
    """`python save_models.py RECIPE`, the same as `quantbento save RECIPE`."""
    parser = argparse.ArgumentParser(
        prog="save_models.py",
        description="Make, judge and store the variants of a recipe.",
        epilog=save.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    save.add_arguments(parser)
    return _run(parser.parse_args(argv))


def _run(arguments: argparse.Namespace) -> int:
    from quantbento.core.errors import QuantbentoError

    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    # Transformers imports torchao where it is installed, which warns of its kernels for other devices and of itself.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        code = run(arguments)
        sys.stdout.flush()  # inside the try, where a closed pipe is caught
        return code
    except QuantbentoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the model store is as it was after the last stored variant", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
