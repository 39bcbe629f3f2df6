"""The command line: arguments only. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from quantbento import __version__

EPILOG = """exit codes of save: 0 every variant passed its gates and is stored; 1 a gate failed;
2 the recipe, the model or an option is wrong; 130 interrupted, with the store as it was"""


def main(argv: Sequence[str] | None = None) -> int:
    """`quantbento <command>`; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="quantbento",
        description="Quantize, prove, store and inspect models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"quantbento {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_save_arguments(commands.add_parser("save", help="make, judge and store the variants of a recipe"))
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
    return _run(parser.parse_args(argv))


def save_models(argv: Sequence[str] | None = None) -> int:
    """`python save_models.py RECIPE`, the same as `quantbento save RECIPE`."""
    parser = argparse.ArgumentParser(
        prog="save_models.py",
        description="Make, judge and store the variants of a recipe.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_save_arguments(parser)
    return _run(parser.parse_args(argv))


def _add_save_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a YAML file, for example configs/minilm.yaml")
    parser.add_argument("--variant", action="append", metavar="NAME", help="make this one only (repeatable)")
    parser.add_argument("--output", default="reports", metavar="DIR", help="of report.json (default: reports)")
    parser.add_argument("--dry-run", action="store_true", help="check the recipe, print the plan, load nothing")
    parser.add_argument("--force", action="store_true", help="make also what is stored already")
    parser.add_argument("--keep-failed", action="store_true", help="store failing variants too, labelled so")
    parser.set_defaults(run=_save)


def _run(arguments: argparse.Namespace) -> int:
    from quantbento.errors import QuantbentoError

    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        code = run(arguments)
        sys.stdout.flush()  # here, where a closed pipe is caught
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


def _save(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        from quantbento.plan import check
        from quantbento.report.console import print_plan

        print_plan(*check(arguments.recipe, arguments.variant))
        return 0
    from quantbento import pipeline
    from quantbento.report.console import print_report
    from quantbento.report.progress import for_stream

    report = pipeline.save(
        arguments.recipe,
        variants=arguments.variant,
        output=arguments.output,
        force=arguments.force,
        keep_failed=arguments.keep_failed,
        progress=for_stream(),
    )
    print_report(report)
    print(f"report: {report.path}")
    return report.exit_code


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


if __name__ == "__main__":
    sys.exit(main())
