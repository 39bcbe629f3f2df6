"""`quantbento bench`: stored models over a grid, or a running service under load."""

from __future__ import annotations

import argparse
from pathlib import Path

from quantbento.cli.parser import numbers


def add_to(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure stored models side by side, or a running service under load",
        epilog="exit codes: 0 measured; 2 a mistake",
    )
    bench.add_argument("tags", nargs="*", metavar="TAG", help="stored models; ratios are to the first")
    bench.add_argument("--url", metavar="URL", help="a running service instead, for example http://127.0.0.1:3000")
    bench.add_argument("--output", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    bench.add_argument("--samples", metavar="FILE", help="inputs of yours, instead of ones that are made up")
    bench.add_argument("--seconds", type=float, metavar="S", help="of measuring; with --url of each load")
    bench.add_argument("--price-per-hour", type=float, metavar="X", help="of the machine: adds a cost per million")
    grid = bench.add_argument_group("stored models")
    grid.add_argument("--batch", type=numbers(int), metavar="N,N", help="inputs per call (default: 1,8,32)")
    grid.add_argument("--length", type=numbers(int), metavar="N,N", help="tokens, or the size of free axes")
    grid.add_argument("--rounds", type=int, metavar="N", help="per pass, at most (default: 9)")
    grid.add_argument("--passes", type=int, metavar="N", help="processes in turn (default: 5; language models: 3)")
    grid.add_argument("--threads", type=int, metavar="N", help="of a model; all cores by default")
    grid.add_argument("--device", default="auto", metavar="NAME", help="default: auto")
    texts = bench.add_argument_group("language models")
    texts.add_argument("--concurrency", type=numbers(int), metavar="N,N", help="requests at once (default: 1,4,16)")
    texts.add_argument("--new-tokens", type=int, metavar="N", help="per prompt (default: 32)")
    load = bench.add_argument_group("a running service")
    load.add_argument("--clients", type=numbers(int), metavar="N,N", help="each waits for its answer (default: 1,16)")
    load.add_argument("--rate", type=numbers(float), metavar="R,R", help="requests per second, whether answered or not")
    load.add_argument("--items", type=int, metavar="N", help="inputs per request (default: 1)")
    load.add_argument("--api-key-file", type=Path, metavar="FILE", help="holds the key that the service asks for")
    bench.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    from quantbento.cli.bench_runs import of_models, of_service

    _refuse(arguments)
    (of_service if arguments.url else of_models)(arguments)
    return 0


OF_MODELS = ("batch", "length", "rounds", "passes", "threads", "concurrency")
OF_SERVICE = ("clients", "rate", "items", "api_key_file")


def _refuse(arguments: argparse.Namespace) -> None:
    """Everything that is wrong with the options, at once."""
    from quantbento.core.errors import QuantbentoError

    def given(names: tuple[str, ...]) -> list[str]:
        return [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is not None]

    problems = []
    if bool(arguments.tags) == bool(arguments.url):
        problems.append("name stored models or --url, one of them: quantbento bench TAG TAG, or bench --url URL")
    unused = given(OF_MODELS if arguments.url else OF_SERVICE)
    if unused and (arguments.tags or arguments.url):
        problems.append(f"{', '.join(unused)} would have no effect {'with' if arguments.url else 'without'} --url")
    if len(set(arguments.tags)) < len(arguments.tags):
        problems.append("a model is named twice; its ratio to itself is 1")
    for name in ("seconds", "rounds", "passes", "threads", "new_tokens", "items", "price_per_hour"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            problems.append(f"--{name.replace('_', '-')} {value:g}: allowed are numbers above 0")
    if arguments.passes == 1:
        problems.append("--passes 1: one pass says nothing of the next; allowed are 2 and more")
    if problems:
        raise QuantbentoError("\n".join(["nothing was measured:", *(f"  - {p}" for p in problems)]))
