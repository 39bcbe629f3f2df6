"""Variants in the BentoML model store.

BentoML copies a new model straight into the store. If that is interrupted, a version without its files is left, and
from then on listing any model fails. So a model is created in a private store beside the real one, and moved over in
one step. Readers see all of it or nothing, whatever happens to the writer.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from quantbento.core.devices import AUTO
from quantbento.core.errors import StoreError, did_you_mean
from quantbento.core.files import link_or_copy
from quantbento.core.machine import other_cpu
from quantbento.runtimes import artifact
from quantbento.runtimes.loaded import LoadedModel
from quantbento.runtimes.module_files import PICKLABLE
from quantbento.store import alias_file, best, manifest, signing
from quantbento.store.atomic import changing, locked, models_path, reported, staged_folder

logger = logging.getLogger("quantbento")


@dataclass(frozen=True)
class StoredModel:
    """A model in the store. Nothing is read before it is needed. `chosen` says why it is this one, where the best
    variant of a recipe was asked for."""

    tag: str
    path: Path
    chosen: str = field(default="", compare=False)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest. Its own hash and schema are checked, the files are not."""
        return manifest.read(self.path, self.tag)

    @property
    def digest(self) -> str:
        """`sha256:` and the hash of the manifest, which holds the hash of every file."""
        return manifest.digest(self.path, self.tag)

    @property
    def aliases(self) -> list[str]:
        """The aliases that point to this version."""
        name, _, version = self.tag.partition(":")
        return [alias for alias, of in alias_file.current(name).items() if of == version]

    def verify(self) -> dict[str, Any]:
        """The manifest, after every file was hashed and matched; raises `StoreError` if one does not match."""
        return manifest.verify(self.path, self.tag)

    def load(self, threads: int | None = None, device: str = AUTO, trusted_keys: Sequence[Path] = ()) -> LoadedModel:
        """The model, after `verify`, and after `signing.check` if there are trusted keys. Logs a warning if this CPU
        computes INT8 differently."""
        if trusted_keys:
            signing.check(self.path, self.tag, trusted_keys)
        judged_on = self.verify().get("environment", {})
        predictor = artifact.load(self.path, threads, device)
        if warning := other_cpu(judged_on, predictor.runtime.name):
            logger.warning("%s: %s", self.tag, warning)
        return predictor

    @property
    def created(self) -> str:
        """When it was created, ISO 8601; empty if the model is damaged."""
        return _created(self.path)


def load(
    tag: str, threads: int | None = None, device: str = AUTO, trusted_keys: Sequence[Path | str] = ()
) -> LoadedModel:
    """A stored model as a callable from a list of inputs to a list of answers.

    Args:
        tag: `name:version`, `name:alias`, or `name` for the latest.
        threads: CPU cores to use; all by default.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU where this machine has one and the model can use it.
        trusted_keys: paths of public keys; the model has to be signed with one of them. By default no signature is
            asked for.

    Raises:
        StoreError: no such model, it is not as it was saved, or not signed. Nothing was unpickled then.
    """
    return find(tag).load(threads, device, [Path(key) for key in trusted_keys])


def find(tag: str) -> StoredModel:
    """The stored model, with its exact tag, for `name:version`, `name:alias`, or `name` for the latest; of a recipe's
    name, `recipe:best` is its best variant (`quantbento.store.best`).

    Raises:
        StoreError: with the nearest names and what to run; a `DanglingAlias` where an alias's version is gone.
    """
    name, _, version = str(tag).lower().partition(":")
    folder = models_path() / name
    versions = _versions(folder) if folder in _folders() else []  # `..` is not a model
    if version == best.BEST and version not in (*versions, *alias_file.current(name)) and (found := _best_of(name)):
        return found
    if not versions:
        names = sorted({m.tag.partition(":")[0] for m in models()})
        known = f" (stored: {', '.join(names[:8])}{' ...' * (len(names) > 8)})" if names else " (the store is empty)"
        raise StoreError(
            f"no model {name!r} in the store{did_you_mean(name, names)}{known}. "
            "Save one with: python save_models.py configs/<recipe>.yaml"
        )
    if version in ("", "latest"):
        latest = folder / "latest"
        version = latest.read_text().strip() if latest.is_file() else ""
        if version not in versions:
            version = max(versions, key=lambda v: _created(folder / v))
    if version not in versions:
        version = _version_of_alias(name, version, versions)
    return StoredModel(f"{name}:{version}", folder / version)


def models(name: str | None = None) -> list[StoredModel]:
    """All stored models, sorted by name, newest first within a name. Damaged ones are included, to be deleted."""
    return [
        StoredModel(f"{folder.name}:{version}", folder / version)
        for folder in _folders()
        if name is None or folder.name == name
        for version in sorted(_versions(folder), key=lambda v: _created(folder / v), reverse=True)
    ]


def save(
    name: str, source: Path, content: dict[str, Any], labels: dict[str, str], metadata: dict[str, Any]
) -> StoredModel:
    """Stores an artifact folder, which stays where it is.

    Args:
        name: the model's name; the version is the manifest's hash.
        source: the artifact folder.
        content: the manifest's variant, recipe and source.
        labels: BentoML labels.
        metadata: BentoML metadata. Values that are None are left out, because BentoML refuses them.

    Raises:
        StoreError: no space, no permission, or another save holds the store for too long.
    """
    import bentoml
    from bentoml._internal.models import ModelStore

    raw, version = manifest.build(source, content)
    tag = f"{name}:{version}"
    with reported(f"{tag} could not be stored"):
        final = models_folder() / name / version
        _need_space(source)
        with staged_folder() as staged:
            (staged / "models").mkdir()
            kept = {key: value for key, value in metadata.items() if value is not None}
            private = ModelStore(staged / "models")
            given = {"labels": labels, "metadata": kept, **_legacy_loader(source)}
            with bentoml.models.create(tag, _model_store=private, **given) as model:
                shutil.copytree(source, model.path, dirs_exist_ok=True, copy_function=link_or_copy)
                Path(model.path_of(manifest.MANIFEST)).write_bytes(raw)
            with locked():
                if final.exists():
                    StoredModel(tag, final).verify()  # the same content is there already
                else:
                    _publish(staged / "models" / name / version, final)
    return StoredModel(tag, final)


def delete(tag: str) -> str:
    """Removes one stored version, damaged or not, and returns its full tag.

    Raises:
        StoreError: no such model, or an alias points to it.
    """
    model = find(tag)
    folder = model.path.parent
    with changing(f"{model.tag} could not be deleted") as staged:
        _refuse_if_followed(model)
        (folder / "latest").unlink(missing_ok=True)
        model.path.rename(staged / "deleted")
        if rest := _versions(folder):
            _write_latest(folder, max(rest, key=lambda v: _created(folder / v)), staged)
        else:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return model.tag


def models_folder() -> Path:
    """The folder of BentoML's model store, created if it does not exist; `BENTOML_HOME` moves it."""
    folder = models_path()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _best_of(recipe: str) -> StoredModel | None:
    if (found := best.of_recipe(recipe, models())) is None:
        return None
    tag, why = found
    name, _, version = tag.partition(":")
    if not (path := models_path() / name / version).is_dir():
        raise alias_file.DanglingAlias(name, best.BEST, version)
    return StoredModel(tag, path, why)


def _version_of_alias(name: str, alias: str, versions: list[str]) -> str:
    aliases = alias_file.current(name)
    if alias not in aliases:
        known = ", ".join(versions[:8]) + (f"; aliases: {', '.join(aliases)}" if aliases else "")
        raise StoreError(
            f"no version {alias!r} of {name!r} in the store{did_you_mean(alias, [*versions, *aliases])} "
            f"(stored: {known})"
        )
    if aliases[alias] not in versions:
        raise alias_file.DanglingAlias(name, alias, aliases[alias])
    return aliases[alias]


def _refuse_if_followed(model: StoredModel) -> None:
    name = model.tag.partition(":")[0]
    if aliases := model.aliases:
        tags = " and ".join(f"{name}:{alias}" for alias in aliases)
        moves = "; ".join(alias_file.how_to_move(name, alias) for alias in aliases)
        raise StoreError(f"{model.tag} was not deleted: {tags} stands for it. Move that first: {moves}")


def _legacy_loader(source: Path) -> dict[str, Any]:
    """What BentoML's deprecated loader of pickles asks for before it opens one."""
    if not (source / PICKLABLE).is_file():
        return {}
    return {"module": "bentoml.picklable_model", "signatures": {"__call__": {"batchable": False}}}


def _publish(staged: Path, final: Path) -> None:
    """The store is valid between any two of these steps: without `latest`, BentoML looks for the newest version."""
    final.parent.mkdir(exist_ok=True)
    (final.parent / "latest").unlink(missing_ok=True)
    staged.rename(final)
    _write_latest(final.parent, final.name, staged.parent)


def _write_latest(folder: Path, version: str, staging: Path) -> None:
    staged = staging / "latest"
    staged.write_text(version)
    staged.replace(folder / "latest")


def _folders() -> list[Path]:
    """One folder per model name. Reading creates no folder: a container's file system may be read-only."""
    try:
        return [path for path in sorted(models_path().iterdir()) if path.is_dir()]
    except FileNotFoundError:
        return []


def _versions(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []


def _created(version: Path) -> str:
    """When a version was created, as BentoML wrote it (ISO 8601, so it sorts); empty for a damaged one."""
    try:
        text = (version / manifest.BENTOML_FILE).read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^creation_time: *['\"]?([^'\"\n]+)", text, re.MULTILINE)
    return found.group(1) if found else ""


def _need_space(source: Path) -> None:
    """Refuses early if space is short. BentoML holds a second copy while it saves."""
    need = 2 * artifact.size_bytes(source)
    free = shutil.disk_usage(models_path()).free
    if free < need:
        raise StoreError(
            f"storing {source.name} needs {need / 1e6:.0f} MB free in {models_path()}, "
            f"which has {free / 1e6:.0f} MB. See what is stored: quantbento models"
        )
