"""`quantbento choose`: which of the measured variants to take, with the reason against each other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantbento.store.candidates import Candidate
    from quantbento.store.choice import Limit

OBJECTIVES = ("latency", "cost", "quality", "size", "throughput")  # those of quantbento.store.choice
LIMITS = {
    "max-latency-ms": "of a call with one input (median)",
    "min-recovery": "of full precision's quality, for example 0.99",
    "max-size-mb": "on disk",
    "min-speedup": "over the baseline, for example 2",
    "max-memory-mb": "peak, in a process of its own",
}


def add_to(commands: argparse._SubParsersAction) -> None:
    choose = commands.add_parser(
        "choose",
        help="say which variant to take, and why not each other",
        epilog="exit codes: 0 one was chosen; 1 nothing qualifies; 2 a mistake",
    )
    choose.add_argument(
        "what", nargs="+", metavar="RECIPE|REPORT.json|TAG", help="a recipe's name or file, a report, or stored models"
    )
    for name, told in LIMITS.items():
        choose.add_argument(f"--{name}", type=float, metavar="N", help=told)
    choose.add_argument("--objective", choices=OBJECTIVES, default="latency", help="default: latency")
    choose.add_argument("--metric", metavar="NAME", help="whose recovery is the quality; the task's first by default")
    choose.add_argument("--promote", metavar="ALIAS", help="point the chosen model's ALIAS to it, for example best")
    choose.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    choose.set_defaults(run=_choose)


def _choose(arguments: argparse.Namespace) -> int:
    from quantbento.cli.output.choice import print_choice, print_choice_json
    from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
    from quantbento.store import aliases, choice

    candidates = _candidates(arguments.what, arguments.metric)
    known = dict.fromkeys(name for candidate in candidates for name in candidate.metrics)
    if arguments.metric and arguments.metric not in known:
        near = did_you_mean(arguments.metric, known)
        raise QuantbentoError(f"no variant has a recovery of {arguments.metric!r}{near} (there is {one_of(known)})")
    found = choice.choose(candidates, arguments.objective, _limits(arguments))
    show = print_choice_json if arguments.output == "json" else print_choice
    show(found, candidates, arguments.objective)
    if found.chosen is None:
        return 1
    if arguments.promote:
        if not found.chosen.stored:
            raise QuantbentoError(
                f"{found.chosen.name} is not stored, so it cannot be promoted. Make it again: --force"
            )
        moved = aliases.promote(found.chosen.name, arguments.promote, reason=f"quantbento choose: {found.why}")
        if arguments.output == "table":
            print(f"{moved.alias} is {moved.after}" + (f" (was {moved.before})" if moved.before else ""))
    return 0


def _limits(arguments: argparse.Namespace) -> list[Limit]:
    import math

    from quantbento.core.errors import QuantbentoError
    from quantbento.store.candidates import LATENCY, MEMORY, QUALITY, SIZE, SPEEDUP
    from quantbento.store.choice import Limit

    axes = dict(zip(LIMITS, (LATENCY, QUALITY, SIZE, SPEEDUP, MEMORY), strict=True))
    given = {name: value for name in LIMITS if (value := getattr(arguments, name.replace("-", "_"))) is not None}
    if wrong := [f"--{name} {value:g}" for name, value in given.items() if not (math.isfinite(value) and value > 0)]:
        raise QuantbentoError(f"{', '.join(wrong)}: allowed are numbers above 0")
    return [Limit(name, axes[name], value) for name, value in given.items()]


def _candidates(what: list[str], metric: str | None) -> list[Candidate]:
    """One recipe or report with its variants, or stored models."""
    from pathlib import Path

    from quantbento import store
    from quantbento.core.errors import QuantbentoError
    from quantbento.judging.report import document
    from quantbento.store import best
    from quantbento.store.candidates import of_manifest, of_report

    reports, stored = [given for given in what if given.endswith(".json")], store.models()
    recipes = {given: name for given in what if (name := best.recipe_name(given, stored))}
    if len(what) > 1 and (alone := [*reports, *recipes]):
        raise QuantbentoError(f"{alone[0]} names several variants by itself; name it alone, or several stored models")
    if reports:
        return of_report(document.read(Path(what[0])).report, metric)
    if recipes:
        [name] = recipes.values()
        models = best.variants_of(name, stored)
        if not models:
            raise QuantbentoError(f"no variant of {name!r} is stored. Save them: python save_models.py {what[0]}")
        return [of_manifest(model.tag, model.manifest, metric) for model in models]
    tags = {model.tag: model for model in map(store.find, what)}
    return [of_manifest(tag, model.manifest, metric) for tag, model in tags.items()]
