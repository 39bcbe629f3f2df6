"""`make container`: the encoder's image from recipe to right answer, with a builder that needs no daemon.

1. store MiniLM in INT8 (configs/minilm.yaml), unless it is there
2. quantbento build minilm, quantbento containerize minilm
3. run the image, wait for /readyz, compare /encode with the model in this process, stop it

    python -m examples.container --base-image localhost/quantbento-base   # deploy/debian_base.sh makes it
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock

import quantbento
from examples.server import Server, serve
from quantbento.cli.output.bentos import print_contents, print_image
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.packing import builders
from quantbento.packing.build import build
from quantbento.packing.builders import Buildah, Builder
from quantbento.packing.contents import Contents
from quantbento.packing.context import base_image_of
from quantbento.packing.image import BENTO, containerize

MODEL = "minilm-l6-v2-onnx-int8"
OWN_BASE = "localhost/quantbento-base"
TEXTS = ["A chef whisks eggs and sugar.", "The stock fell seven percent."]
READY_SECONDS = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--builder", help="docker, podman, nerdctl or buildah; buildah by default where it is installed"
    )
    parser.add_argument("--base-image", help="instead of Python's; made here where that cannot be fetched")
    arguments = parser.parse_args()
    without_user_namespaces()
    builder = builders.find(arguments.builder or ("buildah" if builders.BUILDERS["buildah"].answers() else None))
    if saved := save_model():
        return saved
    contents = build("minilm")
    print_contents(contents)
    base = arguments.base_image or base_image(builder, contents)
    image = containerize(contents.tag, base_image=base, builder=builder.name)
    print_image(image)
    with tempfile.TemporaryDirectory() as logs, running(builder, image.name, Path(logs) / "container.log") as server:
        print(f"\n{image.name} is ready at {server.url}", flush=True)
        distance = np.abs(
            encode(server, TEXTS) - np.asarray(quantbento.load(contents.models[0].stored.tag)(TEXTS))
        ).max()
    print(f"POST /encode: {len(TEXTS)} vectors, at most {distance:.1e} from the model outside of the image; stopped")
    return 0 if distance < 1e-3 else 1


def without_user_namespaces() -> None:
    """As root, buildah's own isolation needs what an ordinary container does not give it; chroot runs everywhere."""
    if os.geteuid() == 0:
        os.environ.setdefault("BUILDAH_ISOLATION", "chroot")


def save_model() -> int:
    try:
        quantbento.store.find(MODEL)
        return 0
    except StoreError:
        return subprocess.run(
            [sys.executable, "save_models.py", "configs/minilm.yaml", "--variant", "onnx-int8"]
        ).returncode


def base_image(builder: Builder, contents: Contents) -> str:
    """Python's own image; where it cannot be fetched, one made of Debian's packages."""
    public = base_image_of(contents)
    if builder.pull(public):
        return public
    with FileLock(Path(tempfile.gettempdir()) / "quantbento-base.lock"):
        if builder.has(OWN_BASE):
            return OWN_BASE
        print(f"{public} cannot be fetched; making {OWN_BASE}, which takes some minutes", flush=True)
        if subprocess.run(["deploy/debian_base.sh", OWN_BASE]).returncode:
            raise QuantbentoError(f"neither {public} could be fetched nor {OWN_BASE} made; name one with --base-image")
    return OWN_BASE


@contextlib.contextmanager
def running(builder: Builder, image: str, log: Path, ready_seconds: float = READY_SECONDS) -> Iterator[Server]:
    """A container of the image, ready, on a port of 127.0.0.1; removed at the end.

    Raises:
        RuntimeError: it ended or was not ready in time; its last lines are in the message.
    """
    if not isinstance(builder, Buildah):
        options = ["--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--publish", "127.0.0.1:{port}:3000"]
        with serve([builder.name, "run", *options, image], {}, log, ready_seconds) as server:
            yield server
        return
    # It has no network of its own under chroot, and no `run` that knows the entrypoint.
    entrypoint = [f"{BENTO}/env/docker/entrypoint.sh", "serve", "--host", "127.0.0.1", "--port", "{port}"]
    with (
        builder.container(image) as container,
        serve(["buildah", "run", container, "--", *entrypoint], {}, log, ready_seconds) as server,
    ):
        yield server


def encode(server: Server, texts: list[str]) -> np.ndarray:
    body = json.dumps({"texts": texts}).encode()
    request = urllib.request.Request(f"{server.url}/encode", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return np.asarray(json.load(response))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (QuantbentoError, RuntimeError) as error:
        sys.exit(f"error: {error}")
