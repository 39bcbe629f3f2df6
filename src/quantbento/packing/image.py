"""An image of a Bento: built in stages, so that what installs the packages stays behind, and measured."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.packing import builders, context, sbom
from quantbento.packing.builders import Builder
from quantbento.packing.contents import Contents

BUILD_TOOLS = ("gcc", "cc", "g++", "clang", "make", "git", "uv")
PARTS = {"Python packages": "/app/.venv", "models": "/home/bentoml/bento/models"}
BENTO = "/home/bentoml/bento"


@dataclass(frozen=True)
class Image:
    """A built image. Sizes are in bytes, of the unpacked files."""

    name: str
    base_image: str
    user: str
    base_bytes: int
    total_bytes: int
    parts: dict[str, int]
    build_tools: list[str]

    @property
    def added_bytes(self) -> int:
        """On top of the base."""
        return self.total_bytes - self.base_bytes


def containerize(
    bento: str, name: str | None = None, base_image: str | None = None, builder: str | None = None
) -> Image:
    """Builds the image of a Bento.

    Args:
        bento: a tag in BentoML's store.
        name: of the image; the Bento's tag by default, as `bentoml containerize` has it.
        base_image: instead of the build file's.
        builder: docker, podman, nerdctl or buildah; the first that is installed by default.

    Raises:
        QuantbentoError: no such Bento, a model of it is missing or damaged, no builder, or the build failed.
    """
    program = builders.find(builder)
    contents = Contents.of(bento)
    sbom.write(contents)
    name = name or contents.tag
    with tempfile.TemporaryDirectory(prefix="quantbento-image-") as folder:
        arguments = context.write(contents, Path(folder), base_image)
        program.build(Path(folder), name, arguments)
    return measure(program, name, base_image or context.base_image_of(contents))


def write_context(bento: str, folder: Path, base_image: str | None = None) -> dict[str, str]:
    """Writes what an image is built from, for a builder elsewhere; gives the build arguments it wants.

    Raises:
        QuantbentoError: no such Bento, or the folder holds something already.
    """
    if folder.exists() and not folder.is_dir():
        raise QuantbentoError(f"{folder} is no folder; name a new one with --context")
    if folder.exists() and any(folder.iterdir()):
        raise QuantbentoError(f"{folder} is not empty; name a new folder with --context")
    contents = Contents.of(bento)
    sbom.write(contents)
    folder.mkdir(parents=True, exist_ok=True)
    return context.write(contents, folder, base_image, links=False)


def measure(program: Builder, name: str, base_image: str) -> Image:
    """What is in an image, counted inside it."""
    whole = "du -skx / | cut -f1"
    paths = f"for p in {' '.join(PARTS.values())} {BENTO}; do du -sk $p | cut -f1; done"
    tools = f"for t in {' '.join(BUILD_TOOLS)}; do command -v $t || ls /app/.venv/bin/$t 2>/dev/null; done; true"
    lines = program.output(name, f"{whole}; {paths}; {tools}").split()
    sizes = [int(line) * 1024 for line in lines if line.isdigit()]
    parts = dict(zip(PARTS, sizes[1:], strict=False))
    parts["code"] = sizes[-1] - parts["models"]
    return Image(
        name=name,
        base_image=base_image,
        user=program.user(name),
        base_bytes=int(program.output(base_image, whole)) * 1024,
        total_bytes=sizes[0],
        parts=parts,
        build_tools=[line for line in lines if not line.isdigit()],
    )
