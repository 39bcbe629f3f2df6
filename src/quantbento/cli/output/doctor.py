"""What can run here: the table and the JSON of `quantbento doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from quantbento.judging.report.console import wide_console
from quantbento.making.doctor import Examination


def print_examination(found: Examination) -> None:
    """Prints the machine, one row per quantizer, runtime and device, and what is wrong with versions."""
    print(f"version  {found.software}")
    print(f"machine  {found.hardware}")
    print(f"INT8     {found.int8}")
    print(f"bf16     {found.bf16}")
    for disk in found.disks:
        print(f"disk     {disk.free_bytes / 1e9:.0f} GB free in {disk.path} ({disk.purpose})")
    table = Table(pad_edge=False)
    for name in ("kind", "name", "runs here", "what it does, or what is missing"):
        table.add_column(name, overflow="fold")
    kind = found.parts[0].kind if found.parts else ""
    for part in found.parts:
        if part.kind != kind:
            table.add_section()
            kind = part.kind
        told = f"{part.told}; run: {part.command}" if part.command else part.told
        table.add_row(part.kind, part.name, "yes" if part.runs else "no", Text(told))  # Text: brackets are no markup
    wide_console().print(table)
    for problem in found.problems:
        print(f"problem  {problem}")
    if not found.anything_runs:
        print("no quantizer can run here")


def print_examination_json(found: Examination) -> None:
    """Prints the same as one object."""
    content = asdict(found) | {"anything_runs": found.anything_runs}
    print(json.dumps(content, indent=2, default=str))
