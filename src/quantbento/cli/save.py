"""`quantbento save`, which `save_models.py` runs too."""

from __future__ import annotations

import argparse
import sys

EPILOG = """exit codes of save: 0 every variant passed its gates and is stored; 1 a gate failed;
2 the recipe, the model or an option is wrong; 3 all are stored and no gate failed, but some were not judged
(judge: none); 130 interrupted, with the store as it was"""


def add_to(commands: argparse._SubParsersAction) -> None:
    add_arguments(commands.add_parser("save", help="make, judge and store the variants of a recipe"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a YAML file, for example configs/minilm.yaml")
    parser.add_argument("--variant", action="append", metavar="NAME", help="make this variant only (repeatable)")
    parser.add_argument("--output", default="reports", metavar="DIR", help="folder for reports (default: reports)")
    looks = parser.add_mutually_exclusive_group()
    looks.add_argument(
        "--dry-run",
        action="store_true",
        help="check the recipe, print the plan and what was not checked; load no model",
    )
    looks.add_argument(
        "--rehearse",
        action="store_true",
        help="take the whole road with a small random model and few samples; touch neither the store nor reports",
    )
    parser.add_argument(
        "--force", action="store_true", help="make stored variants again, and use nothing that an earlier run finished"
    )
    parser.add_argument(
        "--judge",
        choices=("none",),
        help="none: make, check and store the variants without loading them, to be judged on another machine",
    )
    parser.add_argument("--keep-failed", action="store_true", help="store failing variants too, labelled so")
    parser.set_defaults(run=_save)


def _save(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        from quantbento.cli.output.plan import print_plan
        from quantbento.making.plan import check

        print_plan(*check(arguments.recipe, arguments.variant, arguments.judge))
        return 0
    if arguments.rehearse:
        return _rehearse(arguments)
    from quantbento.core.progress import for_stream
    from quantbento.judging.report.console import print_report
    from quantbento.making import pipeline

    report = pipeline.save(
        arguments.recipe,
        variants=arguments.variant,
        output=arguments.output,
        force=arguments.force,
        keep_failed=arguments.keep_failed,
        judge=arguments.judge,
        progress=for_stream(),
    )
    print_report(report)
    print(f"report: {report.path}")
    return report.exit_code


def _rehearse(arguments: argparse.Namespace) -> int:
    from quantbento.core.progress import for_stream
    from quantbento.making.rehearsal import rehearse

    found = rehearse(arguments.recipe, variants=arguments.variant, judge=arguments.judge, progress=for_stream())
    for failure in found.failures:
        print(f"error: {failure}", file=sys.stderr)
    if not found.ready:
        print(f"not ready: {found.failures[0].step}", file=sys.stderr)
        return 2
    rehearsed = ", ".join(found.rehearsed) or "no variant"
    print(f"ready: {found.recipe} ({rehearsed}; {found.seconds:.0f} s; gates were not judged)")
    return 0
