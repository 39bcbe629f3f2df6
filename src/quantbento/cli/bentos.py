"""From the model store to Bentos and images: `quantbento build`, `containerize`, `sbom`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

BUILDERS = "docker, podman, nerdctl or buildah; the first that is installed by default"


def add_to(commands: argparse._SubParsersAction) -> None:
    build = commands.add_parser("build", help="bentoml build, checked: pack a stored model with its service")
    build.add_argument(
        "name",
        nargs="?",
        help="a stored model's tag, a file name in configs/bentos, or a path; bentofile.yaml by default",
    )
    build.add_argument("--model", metavar="TAG", help="pack this model instead of the build file's")
    build.add_argument(
        "--write", type=Path, metavar="FILE", help="keep the build file of a stored model there, and build"
    )
    build.add_argument("--gpu", action="store_true", help="of a stored model: for an NVIDIA GPU, with CUDA's packages")
    build.add_argument(
        "--trusted-key",
        type=Path,
        action="append",
        default=[],
        metavar="NAME.pub.pem",
        help="pack only a model that is signed with this key, or another that is given so",
    )
    build.add_argument("--containerize", action="store_true", help="build the image too")
    _add_image_arguments(build)
    build.set_defaults(run=_build)
    containerize = commands.add_parser("containerize", help="a small image of a Bento, without build tools")
    containerize.add_argument("bento", help="name or name:version")
    _add_image_arguments(containerize)
    containerize.add_argument(
        "--context", type=Path, metavar="DIR", help="write the image's build files to DIR, and build nothing"
    )
    containerize.set_defaults(run=_containerize)
    sbom = commands.add_parser("sbom", help="write a Bento's software bill of materials (CycloneDX)")
    sbom.add_argument("bento", help="name or name:version")
    sbom.set_defaults(run=_sbom)


def _add_image_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="NAME[:TAG]", help="name of the image; the Bento's tag by default")
    parser.add_argument("--base-image", metavar="IMAGE", help="an image with Python, instead of the build file's")
    parser.add_argument("--builder", metavar="NAME", help=BUILDERS)


def _build(arguments: argparse.Namespace) -> int:
    from quantbento.cli.output.bentos import print_contents
    from quantbento.packing import builders
    from quantbento.packing.build import build

    if arguments.containerize:
        builders.find(arguments.builder)  # fails before the work starts
    else:
        _refuse(arguments, ("image", "base_image", "builder"), "without --containerize; add it")
    contents = build(arguments.name, arguments.model, arguments.write, arguments.gpu, arguments.trusted_key, _note)
    print_contents(contents)
    if arguments.containerize:
        _print_image(contents.tag, arguments)
    return 0


def _note(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


def _containerize(arguments: argparse.Namespace) -> int:
    if arguments.context is None:
        _print_image(arguments.bento, arguments)
        return 0
    from quantbento.packing.image import write_context

    _refuse(arguments, ("image", "builder"), "with --context, which builds nothing; leave it out")
    wanted = write_context(arguments.bento, arguments.context, arguments.base_image)
    # A builder reads arguments without a value from its environment. Their values may hold a password.
    given = (name if os.environ.get(name) == value else f"{name}={value}" for name, value in wanted.items())
    options = "".join(f" --build-arg {argument}" for argument in given)
    print(
        f"wrote {arguments.context}; build it with: docker build{options} -f {arguments.context}/Containerfile "
        f"{arguments.context}"
    )
    return 0


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    from quantbento.core.errors import QuantbentoError

    if given := [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is not None]:
        raise QuantbentoError(f"{' and '.join(given)} would have no effect {why}")


def _print_image(bento: str, arguments: argparse.Namespace) -> None:
    from quantbento.cli.output.bentos import print_image
    from quantbento.packing.image import containerize

    print_image(containerize(bento, arguments.image, arguments.base_image, arguments.builder))


def _sbom(arguments: argparse.Namespace) -> int:
    from quantbento.packing import sbom
    from quantbento.packing.contents import Contents

    print(sbom.write(Contents.of(arguments.bento)))
    return 0
