"""The software bill of materials of a Bento, in CycloneDX 1.6: its packages, its models with their digests."""

from __future__ import annotations

from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import missing_packages
from quantbento.packing.contents import Contents

NAME = "sbom.cdx.json"
PACKAGES = ("cyclonedx", "packageurl")


def write(contents: Contents) -> Path:
    """Writes `sbom.cdx.json` into the Bento's folder, from where it goes wherever the Bento goes.

    Raises:
        QuantbentoError: the package that writes it is not installed.
    """
    path = contents.path / NAME
    staged = path.with_suffix(".part")
    staged.write_text(render(contents), encoding="utf-8")
    staged.replace(path)
    return path


def check_packages() -> None:
    """
    Raises:
        QuantbentoError: the package that writes it is not installed.
    """
    if missing := missing_packages(PACKAGES):
        raise QuantbentoError(
            f"an SBOM needs the package {missing[0]!r}, which is not installed; run: pip install 'quantbento[pack]'"
        )


def render(contents: Contents) -> str:
    """The document as JSON. Two calls for the same Bento differ in serial number and time only."""
    check_packages()
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    bom = Bom()
    root = bom.metadata.component = Component(
        name=contents.bento.name, version=contents.bento.version, type=ComponentType.APPLICATION, bom_ref=contents.tag
    )
    parts = []
    for name, version in contents.packages.items():
        purl = PackageURL("pypi", name=name, version=version)
        parts.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl)))
    for model in contents.models:
        name, _, version = model.stored.tag.partition(":")
        parts.append(
            Component(
                name=name,
                version=version,
                type=ComponentType.MACHINE_LEARNING_MODEL,
                bom_ref=model.stored.tag,
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=model.digest.removeprefix("sha256:"))],
                properties=[Property(name="quantbento:scheme", value=model.scheme)],
            )
        )
    for name in contents.image.get("system_packages") or []:
        parts.append(Component(name=name, purl=PackageURL("deb", name=name), bom_ref=f"deb/{name}"))
    bom.components.update(parts)
    bom.register_dependency(root, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2)
