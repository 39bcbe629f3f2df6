"""Signatures of stored models in OpenSSF's format: `model.sig`, a Sigstore bundle that is made and checked offline with
an elliptic-curve key.

It covers manifest.json and every file that the manifest holds the hash of. BentoML's model.yaml is left out: labels may
change later, and nothing is loaded by what it says.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.store import manifest
from quantbento.store.atomic import changing, write

SIGNATURE = manifest.SIGNATURE
PRIVATE, PUBLIC = ".pem", ".pub.pem"


class NotTrusted(StoreError):
    """A stored model has no signature, or none by a trusted key."""


def keygen(name: Path) -> tuple[Path, Path]:
    """Writes a new key pair (P-256, PEM): `NAME.pem`, which only its owner can read, and `NAME.pub.pem`.

    Raises:
        QuantbentoError: one of them exists, or cannot be written.
    """
    _package("signing")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = (name.with_name(name.name + suffix) for suffix in (PRIVATE, PUBLIC))
    if existing := [str(path) for path in (private, public) if os.path.lexists(path)]:
        raise QuantbentoError(f"{' and '.join(existing)} would be overwritten; choose another name for --out")
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    known = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _create(private, secret, 0o600)
    _create(public, known, 0o644)
    return private, public


def sign(folder: Path, tag: str, key: Path) -> None:
    """Signs a stored model; a signature that it has is replaced in one step.

    Args:
        folder, tag: of the stored model.
        key: the private key, PEM, on the curve P-256, P-384 or P-521.

    Raises:
        QuantbentoError: the package or the key cannot be used.
        StoreError: the model is not as it was saved, holds a link, or cannot be written to.
    """
    signer = _with_key(key, "private", _package("signing").Config().use_elliptic_key_signer)
    manifest.verify(folder, tag)
    if found := _no_plain_files(folder):
        raise StoreError(f"{tag} was not signed: {', '.join(found)} is no plain file, and its content may change later")
    signer.set_hashing_config(_hashing(SIGNATURE, manifest.BENTOML_FILE))
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary, SIGNATURE)
        signer.sign(folder, bundle)  # takes as long as reading the model, so not while others wait for the store
        with changing(f"{tag} could not be signed") as staged:
            manifest.read(folder, tag)  # it may have been deleted meanwhile
            write(folder / SIGNATURE, bundle.read_bytes(), staged)


def check_private(key: Path) -> None:
    """Raises `QuantbentoError` where a private key cannot sign, before long work whose result it is to sign."""
    _with_key(key, "private", _package("signing").Config().use_elliptic_key_signer)


def check(folder: Path, tag: str, keys: Sequence[Path]) -> Path:
    """The trusted key that a stored model was signed with. Reads every file; deserializes none.

    Args:
        folder, tag: of the stored model.
        keys: public keys, PEM; one of them has to fit.

    Raises:
        QuantbentoError: the package or a key cannot be used.
        StoreError: the model is not as it was saved.
        NotTrusted: it has no signature, or none by these keys; or what is signed is something else.
    """
    package = _package("verifying")
    verifiers = {key: _with_key(key, "public", package.Config().use_elliptic_key_verifier) for key in keys}
    manifest.verify(folder, tag)
    if found := _no_plain_files(folder):
        raise _not_trusted(tag, keys, f"{', '.join(found)} is no plain file")
    if not (folder / SIGNATURE).exists():
        raise _not_trusted(tag, keys, f"it has no {SIGNATURE}")
    reasons = []
    for key, verifier in verifiers.items():
        hashing = _hashing(SIGNATURE)
        try:
            # Adds to `hashing` what the signature says that it leaves out: model.yaml, in those that are made here.
            verifier.set_hashing_config(hashing).verify(folder, folder / SIGNATURE)
            # It could leave out anything. Once the manifest is covered, all that is loaded is.
            hashed = hashing.hash(folder, files_to_hash=[folder / manifest.MANIFEST])
            if any(True for _ in hashed.resource_descriptors()):
                return key
            reasons.append(f"the signature does not cover {manifest.MANIFEST}")
        except Exception as error:  # of a damaged file, the package raises any
            reasons.append(_said(error))
    raise _not_trusted(tag, keys, "; ".join(dict.fromkeys(reasons)))


def _not_trusted(tag: str, keys: Sequence[Path], reason: str) -> NotTrusted:
    return NotTrusted(
        f"{tag} is not signed by a trusted key: {reason}. Checked against: {', '.join(map(str, keys)) or 'no key'}. "
        f"If the model is the one you mean, sign it: quantbento sign {tag} --key NAME{PRIVATE}"
    )


def _said(error: Exception) -> str:
    """The package's error. Of files that differ it gives the hashes in bytes; only their names are kept."""
    text = str(error).strip().rstrip(".")
    if changed := re.findall(r"Hash mismatch for \W*([^'\\]+)", text):
        return f"{', '.join(changed)} is not what was signed"
    return text or type(error).__name__


def _hashing(*ignored: str) -> Any:
    """Every file but those, by its SHA-256; links are refused."""
    return _package("hashing").Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)


def _no_plain_files(folder: Path) -> list[str]:
    """Links and the like. The manifest holds a link's target path, not the target's content."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]


def _with_key(key: Path, kind: str, use: Any) -> Any:
    argument = {f"{kind}_key": key}
    try:
        return use(**argument)
    except OSError as error:
        raise QuantbentoError(f"the {kind} key {key.absolute()} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError):  # no PEM; encrypted; of another kind
        raise QuantbentoError(
            f"{key} is no {kind} key that can be used: PEM without a password, on the curve P-256, P-384 or P-521. "
            "Make a pair with: quantbento keygen --out NAME"
        ) from None


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        raise QuantbentoError(f"{path} could not be written: {error.strerror}") from None


def _package(module: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(f"model_signing.{module}")
    except ModuleNotFoundError as error:
        raise QuantbentoError(
            f"signatures need the package {error.name!r}, which is not installed; run: pip install 'quantbento[sign]'"
        ) from None
