"""What an image is built from: a folder with a Containerfile, the Bento, its models, and what installs its packages.

Containerfile   rendered from Containerfile.j2
bento/          the Bento as built, SBOM included
models/         as in a model store; a layer of their own
build/          requirements, and certificates and wheels of this machine where it is set to use some
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Set
from importlib.resources import files
from pathlib import Path

from quantbento.core.files import link_or_copy
from quantbento.packing.bentos import runtime_of
from quantbento.packing.contents import Contents
from quantbento.runtimes.base import Runtime

# Settings of pip and uv that the packages stage takes over from this machine.
BUILD_ARGUMENTS = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX_STRATEGY",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "PIP_FIND_LINKS",
    "UV_FIND_LINKS",
)
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE")
WHEELS = ("PIP_FIND_LINKS", "UV_FIND_LINKS")
ENTRYPOINT = "entrypoint.sh"


def write(contents: Contents, folder: Path, base_image: str | None = None, links: bool = True) -> dict[str, str]:
    """Fills an empty folder. Gives the build arguments.

    Args:
        contents: the Bento.
        base_image: instead of the build file's, or of Python's slim one.
        links: to the stores' own files, where the file system has them: for a folder that nobody else writes to.
    """
    arguments = _build_folder(contents, folder / "build")
    _copy(contents.path, folder / "bento", links)
    for model in contents.models:
        name, _, version = model.stored.tag.partition(":")
        _copy(model.stored.path, folder / "models" / name / version, links)
        (folder / "models" / name / "latest").write_text(version)
    # Where a wheel of torch is in the context: with the variable, uv would still ask PyTorch's own index.
    unset = {"UV_TORCH_BACKEND"} if list(folder.glob("build/wheels/torch-*.whl")) else set()
    (folder / "Containerfile").write_text(containerfile(contents, base_image, unset), encoding="utf-8")
    _readable(folder)
    return arguments


def containerfile(contents: Contents, base_image: str | None = None, unset: Set[str] = frozenset()) -> str:
    """The Containerfile, which is a Dockerfile, of a Bento. `unset` are variables of its environment that the stage
    which installs the packages does not get."""
    import jinja2

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["quote"] = shlex.quote
    template = environment.from_string(files("quantbento.packing").joinpath("Containerfile.j2").read_text())
    return template.render(
        tag=contents.tag,
        base_image=base_image or base_image_of(contents),
        system_packages=contents.image.get("system_packages") or [],
        python_version=contents.python_version,
        build_arguments=BUILD_ARGUMENTS,
        environment=contents.bento.environment,
        unset=unset,
        start_seconds=(runtime_of(contents.bento) or Runtime).start_seconds,
    )


def base_image_of(contents: Contents) -> str:
    """The build file's base image, Python's slim one by default."""
    return contents.image.get("base_image") or f"python:{contents.python_version}-slim"


def _build_folder(contents: Contents, folder: Path) -> dict[str, str]:
    """Settings that name a file or folder of this machine name its copy in the image instead."""
    folder.mkdir(parents=True)
    shutil.copyfile(contents.requirements, folder / "requirements.txt")
    arguments = {name: value for name in BUILD_ARGUMENTS if (value := os.environ.get(name))}
    for name in CERTIFICATES:
        if (file := arguments.get(name)) and Path(file).is_file():
            shutil.copyfile(file, folder / f"{name}.pem")
            arguments[name] = f"/build/{name}.pem"
    for name in WHEELS:
        if (wheels := arguments.get(name)) and Path(wheels).is_dir():
            (folder / "wheels").mkdir(exist_ok=True)  # also for none: uv refuses a folder that is not there
            for wheel in _needed(contents, Path(wheels)):
                if not (target := folder / "wheels" / wheel.name).exists():  # both settings may name one folder
                    _link_or_readable_copy(str(wheel), str(target))
            arguments[name] = "/build/wheels"
    return arguments


def _needed(contents: Contents, wheels: Path) -> list[Path]:
    """Wheels of packages that the Bento has, so that the context holds no others; uv is needed to install them."""
    names = {name.replace("-", "_") for name in (*contents.packages, "uv")}
    return [path for path in wheels.glob("*.whl") if path.name.partition("-")[0].lower() in names]


def _copy(source: Path, target: Path, links: bool) -> None:
    copy = _link_or_readable_copy if links else shutil.copyfile
    shutil.copytree(source, target, copy_function=copy, ignore=shutil.ignore_patterns("__pycache__"))


def _link_or_readable_copy(source: str, target: str) -> str:
    """safetensors writes files that only their owner can read, which the image's user is not; a link would change
    the store's own file too."""
    if Path(source).stat().st_mode & stat.S_IROTH and Path(source).name != ENTRYPOINT:
        link_or_copy(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def _readable(folder: Path) -> None:
    """For every user, whatever this machine's umask is."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = mode | stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
        if path.is_dir() or path.name == ENTRYPOINT:
            wanted |= stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
        if wanted != mode:
            path.chmod(wanted)
