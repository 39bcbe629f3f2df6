"""A manifest reveals every change to itself and to the files beside it, and which file was changed."""

from __future__ import annotations

import hashlib
import json

import pytest

from quantbento.core.errors import StoreError
from quantbento.store import manifest

FILES = {"model.onnx": b"weights", "tokenizer/vocab.txt": b"a b c", "empty": b""}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "model"


@pytest.fixture
def tag(folder):
    raw, version = manifest.build(folder, {"variant": {"name": "int8"}, "recipe": {"name": "demo"}})
    (folder / manifest.MANIFEST).write_bytes(raw)
    return f"demo:{version}"


def rewrite(folder, text):
    """Replaces the manifest, and returns the tag under which it would have been saved."""
    raw = text if isinstance(text, bytes) else text.encode()
    (folder / manifest.MANIFEST).write_bytes(raw)
    return f"demo:{manifest.version_of(raw)}"


def test_build_holds_the_content_and_the_sha256_of_every_file(folder):
    raw, _ = manifest.build(folder, {"variant": {"name": "int8"}})
    assert json.loads(raw) == {
        "schema_version": 1,
        "variant": {"name": "int8"},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
    }


def test_the_version_is_16_digits_of_the_manifests_own_sha256_and_fits_a_tag(folder):
    raw, version = manifest.build(folder, {})
    assert version == hashlib.sha256(raw).hexdigest()[:16]


def test_the_same_content_gives_the_same_version_whatever_the_order_of_its_keys(folder):
    assert manifest.build(folder, {"a": 1, "b": 2}) == manifest.build(folder, {"b": 2, "a": 1})


@pytest.mark.parametrize("change", ["content", "file"])
def test_other_content_or_files_give_another_version(folder, change):
    _, before = manifest.build(folder, {"a": 1})
    (folder / "model.onnx").write_bytes(b"other" if change == "file" else b"weights")
    _, after = manifest.build(folder, {"a": 2 if change == "content" else 1})
    assert before != after


def test_verify_gives_the_manifest_of_an_untouched_folder(folder, tag):
    assert manifest.verify(folder, tag)["recipe"] == {"name": "demo"}


def test_bentomls_own_file_may_be_there(folder, tag):
    (folder / manifest.BENTOML_FILE).write_text("name: demo")
    manifest.verify(folder, tag)


def test_verify_names_every_changed_removed_and_added_file_at_once(folder, tag):
    (folder / "model.onnx").write_bytes(b"Weights")
    (folder / "empty").unlink()
    (folder / "tokenizer" / "model.yaml").write_text("named as BentoML's, but not in its place")
    with pytest.raises(StoreError) as refused:
        manifest.verify(folder, tag)
    assert "model.onnx was changed; empty was removed; tokenizer/model.yaml was added" in str(refused.value)
    assert f"quantbento delete {tag}" in str(refused.value)


def test_a_link_to_the_same_content_is_a_change(folder, tag, tmp_path):
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"model\.onnx was changed"):
        manifest.verify(folder, tag)


def test_a_link_to_a_folder_in_a_folders_place_is_seen(folder, tag, tmp_path):
    (folder / "tokenizer").rename(tmp_path / "elsewhere")
    (folder / "tokenizer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"tokenizer/vocab\.txt was removed; tokenizer was added"):
        manifest.verify(folder, tag)


def test_a_dangling_link_is_an_added_file(folder, tag):
    (folder / "later.pkl").symlink_to("not-there-yet")
    with pytest.raises(StoreError, match=r"later\.pkl was added"):
        manifest.verify(folder, tag)


def test_read_looks_at_no_file_but_the_manifest(folder, tag):
    (folder / "model.onnx").unlink()
    assert manifest.read(folder, tag)["files"].keys() == FILES.keys()


def test_a_folder_without_manifest_was_not_saved_by_us(tmp_path):
    with pytest.raises(StoreError, match=r"demo:1 has no manifest\.json: it was not saved by quantbento"):
        manifest.read(tmp_path, "demo:1")


def test_a_changed_manifest_no_longer_has_the_version_of_its_tag(folder, tag):
    text = (folder / manifest.MANIFEST).read_text()
    rewrite(folder, text.replace('"int8"', '"int4"'))
    with pytest.raises(StoreError, match=r"manifest\.json was changed after it was saved"):
        manifest.read(folder, tag)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"schema_version": null}', '{"schema_version": "one"}', b"\xff\xfe\x00"],
    ids=["empty", "cut-off", "list", "null", "no-schema", "schema-null", "schema-a-word", "not-utf8"],
)
def test_a_damaged_manifest_is_one_error_even_where_its_hash_is_right(folder, text):
    with pytest.raises(StoreError, match=r"manifest\.json is damaged\. Remove it with: quantbento delete demo:"):
        manifest.read(folder, rewrite(folder, text))


def test_a_manifest_of_a_newer_quantbento_says_what_to_upgrade(folder):
    tag = rewrite(folder, '{"schema_version": 2, "files": {}}')
    with pytest.raises(StoreError, match=r"manifest has schema_version 2, this quantbento reads up to 1.*--upgrade"):
        manifest.verify(folder, tag)


def test_hashing_does_not_depend_on_the_order_files_were_made_in(tmp_path):
    for folder, order in (("a", FILES), ("b", reversed(FILES))):
        for name in order:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FILES[name])
    assert manifest.hash_files(tmp_path / "a") == manifest.hash_files(tmp_path / "b")


def test_the_digest_is_the_whole_hash_that_the_version_begins_with(folder, tag):
    digest = manifest.digest(folder, tag)
    assert digest == f"sha256:{hashlib.sha256((folder / manifest.MANIFEST).read_bytes()).hexdigest()}"
    assert digest.startswith(f"sha256:{tag.partition(':')[2]}")


def test_a_changed_manifest_has_no_digest(folder, tag):
    text = (folder / manifest.MANIFEST).read_text()
    rewrite(folder, text.replace('"int8"', '"int4"'))
    with pytest.raises(StoreError, match=r"manifest\.json was changed after it was saved"):
        manifest.digest(folder, tag)
