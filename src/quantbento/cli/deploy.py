"""Running a Bento elsewhere: `quantbento deploy render`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    deploy = commands.add_parser("deploy", help="write the files that run a Bento in Kubernetes")
    actions = deploy.add_subparsers(required=True, metavar="action")
    render = actions.add_parser("render", help="a Bento's manifests, for kubectl apply -k")
    render.add_argument("bento", help="name or name:version in BentoML's Bento store")
    render.add_argument("--image", metavar="IMAGE[:TAG]", help="the Bento's image; <bento name>:<version> by default")
    render.add_argument(
        "--overlay", choices=("cpu", "gpu"), help="by default gpu for a Bento that asks for a GPU, else cpu"
    )
    render.add_argument("--replicas", type=int, metavar="N", help="fewest pods; the most is five times as many")
    render.add_argument("--keda", action="store_true", help="let KEDA scale, by requests in progress")
    render.add_argument("--output", type=Path, metavar="DIR", help="deploy/rendered/<bento name> by default")
    render.set_defaults(run=_render)


def _render(arguments: argparse.Namespace) -> int:
    from quantbento.packing.kubernetes import render

    done = render(
        arguments.bento,
        image=arguments.image,
        overlay=arguments.overlay,
        replicas=arguments.replicas,
        keda=arguments.keda,
        output=arguments.output,
    )
    print(f"{done.folder}: {done.tag} as image {done.image}, overlay {done.overlay}")
    for note in done.notes:
        print(f"note: {note}")
    print(f"next:\n  kubectl kustomize {done.folder}\n  kubectl apply -k {done.folder}")
    return 0
