"""`quantbento sensitivity`: what quantizing each layer of a variant alone costs."""

from __future__ import annotations

import argparse


def add_to(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("sensitivity", help="say what quantizing each layer of a variant alone costs")
    parser.add_argument("recipe", help="a YAML file, for example configs/minilm.yaml")
    parser.add_argument("--variant", required=True, metavar="NAME", help="one of the recipe's variants")
    parser.add_argument(
        "--samples", type=int, default=64, metavar="N", help="evaluation samples, or windows of tokens (default: 64)"
    )
    parser.add_argument(
        "--layers", default="*", metavar="PATTERN", help="only layers that match, such as '*.layer.0.*'"
    )
    parser.add_argument("--metric", metavar="NAME", help="that layers are sorted by; the task's first by default")
    parser.add_argument("--output", default="reports", metavar="DIR", help="folder for reports (default: reports)")
    parser.set_defaults(run=_sensitivity)


def _sensitivity(arguments: argparse.Namespace) -> int:
    from quantbento.cli.output.sensitivity import print_sensitivity
    from quantbento.core.progress import for_stream
    from quantbento.making.sensitivity.measure import sensitivity

    found, path = sensitivity(
        arguments.recipe,
        arguments.variant,
        samples=arguments.samples,
        layers=arguments.layers,
        metric=arguments.metric,
        output=arguments.output,
        progress=for_stream(),
    )
    print_sensitivity(found)
    print(f"sensitivity: {path}")
    return 0
