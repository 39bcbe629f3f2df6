"""`quantbento init`: a recipe for a model, written from what the model says about itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LEVELS = ("99", "99.5", "99.9")


def add_to(commands: argparse._SubParsersAction) -> None:
    init = commands.add_parser("init", help="write a recipe for a model, from what the model says about itself")
    init.add_argument(
        "model",
        help="a folder, a file (.onnx, .pt, .pt2), module:function, an installed package, or owner/name on the hub",
    )
    init.add_argument(
        "--evaluation",
        metavar="FILE",
        help="samples to judge on: .jsonl, .csv, .txt, .npz, a folder of "
        "images or sounds, or module:function; without it, samples that stand in for yours are written",
    )
    init.add_argument("--calibration", metavar="FILE", help="samples to calibrate on; only for quantizers that do")
    init.add_argument("--columns", nargs="+", default=[], metavar="FIELD=COLUMN", help="which columns hold what")
    init.add_argument("--labels", metavar="A,B,...", help="names of the classes, in the order of the model's outputs")
    init.add_argument("--task", help="what the model is for, if the model does not say")
    init.add_argument("--name", help="of the recipe; the model's by default")
    init.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="percent of quality to keep (default: 99)")
    init.add_argument("--base", metavar="MODEL", help="the model that an adapter is for, if it does not say")
    init.add_argument("--weights", type=Path, metavar="FILE", help="safetensors for what module:function returns")
    init.add_argument("--revision", help="of a hub model")
    init.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    init.add_argument("--output", type=Path, metavar="FILE", help="configs/NAME.yaml, or NAME.yaml, by default")
    init.add_argument("--stdout", action="store_true", help="print the recipe and write nothing")
    init.add_argument("--force", action="store_true", help="replace a recipe that exists")
    init.set_defaults(run=_init)


def _init(arguments: argparse.Namespace) -> int:
    from quantbento.making.drafting.draft import draft
    from quantbento.making.drafting.request import Request

    done = draft(
        Request(
            source=arguments.model,
            task=arguments.task,
            name=arguments.name,
            evaluation=arguments.evaluation,
            calibration=arguments.calibration,
            columns=_columns(arguments.columns),
            labels=arguments.labels.split(",") if arguments.labels else None,
            level=arguments.level,
            base=arguments.base,
            weights=arguments.weights,
            revision=arguments.revision,
            trust_remote_code=arguments.trust_remote_code,
            output=arguments.output,
            force=arguments.force,
        ),
        write=not arguments.stdout,
    )
    beside = ", ".join(map(str, done.placeholders.values()))
    options = ", ".join(f"--{kind} FILE" for kind in done.placeholders)
    if arguments.stdout:
        print(done.text, end="")
        if beside:
            print(f"not written: {beside}, which stand in for samples of yours. Name them: {options}", file=sys.stderr)
        return 0
    print("\n".join([f"wrote {done.path}", done.summary, *done.needs]))
    if beside:
        print(f"{beside}: stand in for samples of yours. Put your own in their place, or name them: {options}")
    print(
        f"next:\n  quantbento save {done.path} --rehearse   # the whole road in seconds, with random weights\n"
        f"  quantbento save {done.path}"
    )
    return 0


def _columns(given: list[str]) -> dict[str, str]:
    from quantbento.core.errors import QuantbentoError

    if wrong := [pair for pair in given if "=" not in pair]:
        raise QuantbentoError(f"--columns {wrong[0]!r}: it takes FIELD=COLUMN, for example text=review label=stars")
    return dict(pair.split("=", 1) for pair in given)
