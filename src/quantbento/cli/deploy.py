"""Other machines: `quantbento deploy render` and `deploy canary` for Bentos, `deploy sweep` for a recipe's variants."""

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
    render.add_argument("--nodes", type=int, metavar="N", help="machines that share the model, in a LeaderWorkerSet")
    render.add_argument("--kserve", metavar="URI", help="an LLMInferenceService; KServe reads the model from URI")
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
    sweep = actions.add_parser(
        "sweep", help="a recipe's variants on several machines: Kubernetes Jobs, a SkyPilot task"
    )
    sweep.add_argument("recipe", type=Path, help="a YAML file below the current folder")
    sweep.add_argument("--image", required=True, metavar="IMAGE[:TAG]", help="with quantbento and the project")
    sweep.add_argument("--queue", metavar="NAME", help="Kueue's LocalQueue; without one, Jobs start at once")
    sweep.add_argument(
        "--claim", default="quantbento-results", metavar="NAME", help="PersistentVolumeClaim (default: %(default)s)"
    )
    sweep.add_argument("--bucket", metavar="URL", help="where SkyPilot writes results, for example s3://my-bucket")
    sweep.add_argument("--cpu", default="4", metavar="CORES", help="of each machine (default: %(default)s)")
    sweep.add_argument("--memory", default="16Gi", metavar="SIZE", help="of each machine (default: %(default)s)")
    sweep.add_argument(
        "--accelerator", default="L4", metavar="GPU", help="SkyPilot's name of a GPU, where needed (default: L4)"
    )
    sweep.add_argument("--output", type=Path, metavar="DIR", help="deploy/rendered/<recipe>-sweep by default")
    sweep.set_defaults(run=_sweep)


def _render(arguments: argparse.Namespace) -> int:
    from quantbento.packing.kubernetes import render

    done = render(
        arguments.bento,
        image=arguments.image,
        overlay=arguments.overlay,
        replicas=arguments.replicas,
        keda=arguments.keda,
        nodes=arguments.nodes,
        model_uri=arguments.kserve,
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


def _sweep(arguments: argparse.Namespace) -> int:
    from quantbento.making.elsewhere import look
    from quantbento.packing.sweep import SKYPILOT, Machine, render

    found = look(arguments.recipe)
    done = render(
        arguments.recipe,
        found.name,
        found.variants,
        arguments.image,
        queue=arguments.queue,
        claim=arguments.claim,
        bucket=arguments.bucket,
        machine=Machine(arguments.cpu, arguments.memory, found.gpu, arguments.accelerator),
        output=arguments.output,
    )
    print(f"{done.folder}: {len(done.variants)} variants of {found.name}, each with {'a GPU' if found.gpu else 'CPUs'}")
    for note in done.notes:
        print(f"note: {note}")
    print(f"next:\n  kubectl apply -k {done.folder}\nor:")
    for variant in done.variants:
        print(f"  sky jobs launch --env VARIANT={variant} {done.folder / SKYPILOT}")
    print("then, where the results are:\n  quantbento merge /results/*/reports --output reports")
    return 0
