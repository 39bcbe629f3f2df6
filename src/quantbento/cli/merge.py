"""`quantbento merge`: the reports of several machines as one."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    merge = commands.add_parser(
        "merge",
        help="make one report of those of several machines",
        description="Each DIR holds a report of some variants of one recipe, as `save --variant NAME --output DIR` "
        "writes it.",
        epilog="exit codes: as those of save, by the merged rows",
    )
    merge.add_argument("reports", nargs="+", type=Path, metavar="DIR", help="folders with reports of the same recipe")
    merge.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the merged report")
    merge.set_defaults(run=_merge)


def _merge(arguments: argparse.Namespace) -> int:
    from quantbento.judging.report import page
    from quantbento.judging.report.merge import merge
    from quantbento.judging.rows import exit_code, is_unjudged

    merged = merge(arguments.reports, arguments.output)
    variants = merged.report["variants"]
    notes = [*merged.notes, *page.write(merged.path).notes]
    for variant in variants:
        judged = "not judged" if is_unjudged(variant) else "passed" if variant["passed"] else "failed its gates"
        outcome = variant["error"] or judged
        print(f"{variant['name']}: {outcome}")
    for note in notes:
        print(f"note: {note}")
    print(f"report: {merged.path}")
    return exit_code(variants)
