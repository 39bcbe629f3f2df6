"""The files beside the library that commands need: service.py, build files, lists of requirements, manifests.

They are at the top of the repository, where people look for them. A wheel carries the same files as package data. A
file of that path in the current folder wins: a user's project has its own `service.py`.
"""

from __future__ import annotations

from pathlib import Path

from quantbento.core.errors import QuantbentoError

LIBRARY = Path(__file__).parent.parent
CARRIED = Path(__file__).with_name("project")  # there in an installed wheel only
PACKED = ("**/*.py", "serving/playground/static/**")  # of the library, what a Bento has
SERVICE = Path("service.py")
BUILD_FILES = Path("configs", "bentos")
TEMPLATES = Path("deploy", "kubernetes")


def folder() -> Path:
    """Where quantbento's own files are: in the installed package, or at the top of the checkout.

    Raises:
        QuantbentoError: neither is here, as inside a Bento.
    """
    checkout = LIBRARY.parent.parent
    found = next((place for place in (CARRIED, checkout) if (place / SERVICE).is_file()), None)
    if found is None:
        raise QuantbentoError(
            f"quantbento's own {SERVICE} is neither in {CARRIED} nor in {checkout}; install it again: pip install "
            "--force-reinstall quantbento"
        )
    return found


def find(path: Path) -> Path:
    """`path` where the current folder has it, else that of quantbento's own, which may not exist."""
    return path if path.exists() else folder() / path
