"""`quantbento doctor`: what can run on this machine, and what is missing."""

from __future__ import annotations

import argparse


def add_to(commands: argparse._SubParsersAction) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say what can run here, and what is missing",
        epilog="exit codes: 0 something can be quantized here; 1 no quantizer can run",
    )
    doctor.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    doctor.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from quantbento.cli.output.doctor import print_examination, print_examination_json
    from quantbento.making.doctor import examine

    found = examine()
    (print_examination_json if arguments.output == "json" else print_examination)(found)
    return 0 if found.anything_runs else 1
