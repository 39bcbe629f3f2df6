"""What went into a Bento and into an image, for a reader."""

from __future__ import annotations

from rich.table import Table

from quantbento.judging.figures import megabytes
from quantbento.judging.report.console import wide_console
from quantbento.packing.bentos import runtime_of
from quantbento.packing.contents import Contents
from quantbento.packing.image import Image


def print_contents(contents: Contents) -> None:
    """The Bento's models, packages and sizes."""
    resources = ", ".join(f"{name} {value}" for name, value in contents.bento.entry.resources.items())
    print(f"bento     {contents.tag}")
    print(f"service   {contents.bento.service}, resources {resources}")
    for model in contents.models:
        print(f"model     {model.stored.tag}, {model.scheme}, {megabytes(model.size_bytes)}, {model.digest}")
    print(f"packages  {len(contents.packages)}, pinned: {_main(contents)}")
    print(f"code      {megabytes(contents.code_bytes)}")
    print(f"folder    {contents.path}, with its SBOM")


def print_image(image: Image) -> None:
    """What an image is made of."""
    table = Table(title=image.name, title_justify="left", pad_edge=False)
    table.add_column("part")
    table.add_column("size", justify="right")
    table.add_row(f"base ({image.base_image})", megabytes(image.base_bytes))
    for part, size in image.parts.items():
        table.add_row(part, megabytes(size))
    table.add_row("other", megabytes(max(0, image.added_bytes - sum(image.parts.values()))))
    table.add_section()
    table.add_row("on top of the base", megabytes(image.added_bytes))
    table.add_row("in all", megabytes(image.total_bytes))
    wide_console().print(table)
    print(f"user {image.user or 'root'}; build tools: {', '.join(image.build_tools) or 'none'}")


def _main(contents: Contents) -> str:
    """The packages that say what kind of image this becomes: BentoML, and those its runtime computes with."""
    runtime = runtime_of(contents.bento)
    names = ("bentoml", *(runtime.distributions if runtime else ()))
    return ", ".join(f"{name} {contents.packages[name]}" for name in names if name in contents.packages)
