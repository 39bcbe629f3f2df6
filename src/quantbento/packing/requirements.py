"""Lists of exact versions that a Bento's image installs, completed by what a model needs beyond its runtime's list."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quantbento.core.errors import QuantbentoError
from quantbento.packing.build_files import pinned

OWN = "quantbento"  # its code goes along as source


def of_library() -> list[str]:
    """Names of what quantbento needs itself, whatever runtime serves."""
    return [requirement.name for requirement in _needs(OWN, frozenset())]


def added(listed: Iterable[str], names: Iterable[str]) -> list[str]:
    """Lines for packages that a list lacks, and for all that they need in turn: the versions installed here.

    Args:
        listed: lines of a complete `requirements.txt`; what it has stays as it is.
        names: of distributions.

    Raises:
        QuantbentoError: one is not installed, or needs another version of a package than the list has.
    """
    have = pinned(list(listed))
    new: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [Requirement(name) for name in names]
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name in have:
            if not requirement.specifier.contains(have[name], prereleases=True):
                raise QuantbentoError(f"{requirement} is needed, and the list of packages has {name} {have[name]}")
        elif (name, extras) not in seen and name != OWN:
            seen.add((name, extras))
            new[name] = _installed(name)
            queue += _needs(name, extras)
    return [f"{name}=={new[name]}" for name in sorted(new)]


def _needs(distribution: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed distribution needs here."""
    found = [Requirement(line) for line in requires(distribution) or []]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in extras | {""})]


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]  # a local version, such as 2.13.0+cpu, is on no index
    except PackageNotFoundError:
        raise QuantbentoError(f"the package {name!r} is needed and not installed; run: pip install {name}") from None
