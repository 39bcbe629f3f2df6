"""Stored models that nobody signed, or that are not what was signed. Their pickle leaves a mark if it is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model_signing

from quantbento import store
from quantbento.runtimes import artifact
from quantbento.store import manifest, signing
from tests.store.test_models import Trap, add, flip, write_artifact


@dataclass
class Stored:
    """A stored model, `mark`, which exists once its pickle was loaded, and two pairs of keys."""

    model: store.StoredModel
    mark: Path
    private: Path
    trusted: Path
    foreign: Path

    def sign(self, key: Path | None = None) -> None:
        signing.sign(self.model.path, self.model.tag, key or self.private)


def trapped(folder: Path) -> Stored:
    """A model that is not signed yet, in the store that is set."""
    mark = folder / "mark"
    made = write_artifact(folder / "artifact", custom_objects={"trap": Trap(mark)})
    model = store.save("trapped", made, {"variant": {"scheme": "float32", "runtime": "onnx"}}, {}, {})
    private, trusted = signing.keygen(folder / "release")
    foreign, _ = signing.keygen(folder / "foreign")
    return Stored(model, mark, private, trusted, foreign)


def forge(stored: Stored) -> None:
    """Changes the model, and all of it that vouches for it but the signature: its manifest and its version."""
    path = stored.model.path
    flip(path / "model.onnx")
    _vouch(stored)


def link(stored: Stored) -> None:
    """Puts a link in a file's place, in a model whose manifest says so."""
    file = stored.model.path / "model.onnx"
    file.rename(stored.mark.parent / "elsewhere")
    file.symlink_to(stored.mark.parent / "elsewhere")
    _vouch(stored)


def _vouch(stored: Stored) -> None:
    path = stored.model.path
    raw, version = manifest.build(path, {"variant": {"scheme": "float32", "runtime": "onnx"}})
    (path / manifest.MANIFEST).write_bytes(raw)
    stored.model = store.StoredModel(f"trapped:{version}", path.rename(path.parent / version))


def sign_a_part(stored: Stored) -> None:
    """With the trusted key, but without the manifest."""
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=["manifest.json", "model.sig", "model.yaml"])
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=stored.private)
    signer.set_hashing_config(hashing).sign(stored.model.path, stored.model.path / signing.SIGNATURE)


def with_signature(content: str) -> Callable[[Stored], None]:
    return lambda stored: (stored.model.path / signing.SIGNATURE).write_text(content) and None


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Stored], None]:
    """Changes the bundle."""

    def edit(stored: Stored) -> None:
        file = stored.model.path / signing.SIGNATURE
        bundle = json.loads(file.read_text())
        change(bundle)
        file.write_text(json.dumps(bundle))

    return edit


def at(name: str, touch: Callable[[Path], Any]) -> Callable[[Stored], Any]:
    return lambda stored: touch(stored.model.path / name)


# What is done to a signed model, and what is said.
TAMPERED: dict[str, tuple[Callable[[Stored], Any], str]] = {
    "unsigned": (at("model.sig", Path.unlink), r"it has no model\.sig"),
    "foreign key": (lambda stored: stored.sign(stored.foreign), "Key mismatch"),
    "changed file": (at("model.onnx", flip), r"model\.onnx was changed"),
    "changed pickle": (at(artifact.CUSTOM_OBJECTS, flip), r"objects\.pkl was changed"),
    "changed manifest": (at("manifest.json", flip), r"manifest\.json"),
    "missing file": (at("model.onnx", Path.unlink), r"model\.onnx was removed"),
    "extra file": (at("extra.py", add), r"extra\.py was added"),
    "extra file of git": (at(".git/hook", add), r"\.git/hook was added"),
    "forged": (forge, r"manifest\.json, model\.onnx is not what was signed"),
    "link": (link, r"model\.onnx is no plain file"),
    "link to BentoML's file": (
        at("model.yaml", lambda file: file.symlink_to(file.rename(file.parents[3] / "yaml"))),
        r"model\.yaml is no plain file",
    ),
    "part signed": (sign_a_part, r"does not cover manifest\.json"),
    "empty signature": (with_signature(""), "not signed by a trusted key"),
    "no bundle": (with_signature("[]"), "not signed by a trusted key"),
    "empty bundle": (with_signature("{}"), "not signed by a trusted key"),
    "no envelope": (edited(lambda bundle: bundle.pop("dsseEnvelope")), "not signed by a trusted key"),
    "no signature in it": (
        edited(lambda bundle: bundle["dsseEnvelope"].update(signatures=[])),
        "not signed by a trusted key",
    ),
    "another payload": (
        edited(lambda bundle: bundle["dsseEnvelope"].update(payload="e30=")),
        "not signed by a trusted key: InvalidSignature",
    ),
}
