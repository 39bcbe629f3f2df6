"""Running a Bento elsewhere: `quantbento deploy render` and `quantbento deploy canary`."""

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
    canary = actions.add_parser("canary", help="a Gateway API HTTPRoute: a part of the requests to another Bento")
    canary.add_argument("stable", help="the Bento that gets the other requests")
    canary.add_argument("canary", help="a Bento of another name, rendered and applied beside it")
    canary.add_argument("--weight", type=int, required=True, metavar="PERCENT", help="of the requests, to the canary")
    canary.add_argument("--gateway", required=True, metavar="[NAMESPACE/]NAME", help="the Gateway that routes")
    canary.add_argument("--hostname", help="of the requests; every one by default")
    canary.add_argument("--header", metavar="NAME", help="requests with NAME: true always go to the canary")
    canary.add_argument(
        "--output", type=Path, metavar="FILE", help="deploy/rendered/<stable>-httproute.yaml by default"
    )
    canary.set_defaults(run=_canary)


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


def _canary(arguments: argparse.Namespace) -> int:
    from quantbento.packing.http_route import write_route

    file = write_route(
        arguments.stable,
        arguments.canary,
        arguments.weight,
        arguments.gateway,
        hostname=arguments.hostname,
        header=arguments.header,
        output=arguments.output,
    )
    print(f"{file}: {arguments.weight} % of the requests to {arguments.canary}, the others to {arguments.stable}")
    print(f"next:\n  kubectl apply -f {file}")
    return 0
