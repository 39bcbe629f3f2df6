"""`quantbento judge`: judges a stored model that was made with `--judge none`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    judge = commands.add_parser(
        "judge",
        help="judge a stored model that was made with --judge none",
        description="Measures the model against full precision in its runtime, by the gates of its recipe, and stores "
        "it anew as judged, in the place of the one that was not. Its row goes into the recipe's report.",
        epilog="exit codes: 0 it passed its gates; 1 a gate failed, and it is stored labelled so; 2 it cannot be "
        "judged here, and the store is as it was; 130 interrupted",
    )
    judge.add_argument("tag", help="name, name:version or name:alias")
    judge.add_argument(
        "--recipe", metavar="RECIPE", help="its recipe, where that names files and so is not in the model's manifest"
    )
    judge.add_argument("--output", type=Path, default=Path("reports"), metavar="DIR", help="folder for reports")
    judge.add_argument("--key", type=Path, metavar="NAME.pem", help="sign the judged model with this private key")
    judge.set_defaults(run=_judge)


def _judge(arguments: argparse.Namespace) -> int:
    from quantbento.core.progress import for_stream
    from quantbento.judging.report.console import print_report
    from quantbento.making.judging_later import judge

    done = judge(
        arguments.tag,
        recipe=arguments.recipe,
        output=arguments.output,
        key=arguments.key,
        progress=for_stream(),
    )
    print_report(done.report)
    for note in done.notes:
        print(f"note: {note}")
    print(f"{done.before} is judged: it is {done.after} now")
    print(f"report: {done.path}")
    return done.report.exit_code
