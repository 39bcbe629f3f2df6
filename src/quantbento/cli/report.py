"""`quantbento report` and `quantbento compare`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser("report", help="make report.html of a recipe's report, with its plots")
    report.add_argument("report", help="a recipe's file or name, a report.json, or its folder")
    report.add_argument("--output", default="reports", metavar="DIR", help="folder of reports (default: reports)")
    report.add_argument("--open", action="store_true", help="open the page in the browser")
    report.set_defaults(run=_report)
    compare = commands.add_parser(
        "compare",
        help="say what changed between two reports beyond noise",
        epilog="exit codes: 0 compared; 1 something got worse beyond noise, with --fail-on-regression",
    )
    compare.add_argument("before", help="a recipe's file or name, a report.json, or its folder")
    compare.add_argument("after", help="the same, of the later run or the other machine")
    compare.add_argument("--reports", default="reports", metavar="DIR", help="folder of reports (default: reports)")
    compare.add_argument("--all", action="store_true", help="list what stayed the same, too")
    compare.add_argument("--fail-on-regression", action="store_true", help="exit code 1 where something got worse")
    compare.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    compare.set_defaults(run=_compare)


def _report(arguments: argparse.Namespace) -> int:
    import webbrowser

    from quantbento.judging.report import document, page

    path = document.find(arguments.report, Path(arguments.output))
    written = page.write(path)
    for note in written.notes:
        print(f"note: {note}")
    print(f"report: {written.path}")
    if arguments.open and not webbrowser.open(written.path.resolve().as_uri()):
        print("note: no browser was found; open the file yourself")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from quantbento.cli.output.compare import print_comparison, print_comparison_json
    from quantbento.judging.report import document
    from quantbento.judging.report.compare import compare

    reports = Path(arguments.reports)
    before, after = (document.read(document.find(name, reports)) for name in (arguments.before, arguments.after))
    found = compare(before, after)
    if arguments.output == "json":
        print_comparison_json(found)
    else:
        print_comparison(found, arguments.all)
    return 1 if arguments.fail_on_regression and found.regressions else 0
