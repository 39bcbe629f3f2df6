"""A signature of a stored model is OpenSSF's, and nothing is loaded that a trusted key did not sign."""

from __future__ import annotations

import stat
import subprocess
import sys

import model_signing
import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from quantbento import store
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.store import aliases, labels, signing
from tests.store.test_models import answer, flip, write_artifact
from tests.tampered_models import TAMPERED, Stored, link, trapped


@pytest.fixture
def stored(tmp_path, bento_home) -> Stored:
    return trapped(tmp_path)


@pytest.fixture
def plain(tmp_path, bento_home) -> store.StoredModel:
    return store.save("demo", write_artifact(tmp_path / "plain"), {}, {}, {})


def test_a_signed_model_is_loaded(stored, plain):
    signing.sign(plain.path, plain.tag, stored.private)
    assert store.load("demo", threads=1, trusted_keys=[str(stored.trusted)])([[1, 2, 3]])[0].tolist() == [1, 2, 3]
    assert answer("demo") == [1, 2, 3]


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.values(), ids=TAMPERED)
def test_what_is_not_as_it_was_signed_is_refused_before_anything_is_unpickled(stored, tamper, said):
    stored.sign()
    tamper(stored)
    with pytest.raises(StoreError, match=said) as refused:
        stored.model.load(1, trusted_keys=[stored.trusted])
    assert stored.model.tag in str(refused.value)
    assert not stored.mark.exists()


def test_the_control_without_keys_it_is_unpickled(stored):
    stored.model.load(1)
    assert stored.mark.exists()


def test_the_message_names_the_keys_and_what_signs_the_model(stored):
    other = signing.keygen(stored.mark.parent / "other")[1]
    with pytest.raises(signing.NotTrusted) as refused:
        signing.check(stored.model.path, stored.model.tag, [stored.trusted, other])
    assert str(refused.value).endswith(
        f"Checked against: {stored.trusted}, {other}. If the model is the one you mean, sign it: "
        f"quantbento sign {stored.model.tag} --key NAME.pem"
    )


def test_no_key_trusts_nothing(stored):
    stored.sign()
    with pytest.raises(signing.NotTrusted, match="Checked against: no key"):
        signing.check(stored.model.path, stored.model.tag, [])


def test_one_of_several_keys_is_enough_and_is_named(stored):
    stored.sign()
    other = signing.keygen(stored.mark.parent / "other")[1]
    assert signing.check(stored.model.path, stored.model.tag, [other, stored.trusted]) == stored.trusted


def test_the_signature_of_another_model_is_none_of_this_one(stored, plain):
    stored.sign()
    (plain.path / signing.SIGNATURE).write_bytes((stored.model.path / signing.SIGNATURE).read_bytes())
    with pytest.raises(signing.NotTrusted, match=r"manifest\.json.* is not what was signed"):
        signing.check(plain.path, plain.tag, [stored.trusted])


def test_signing_again_replaces_the_signature(stored):
    stored.sign(stored.foreign)
    stored.sign()
    assert signing.check(stored.model.path, stored.model.tag, [stored.trusted])


def test_a_signature_leaves_the_model_and_its_version_as_they_were(stored):
    before = stored.model.verify()
    stored.sign()
    assert stored.model.verify() == before
    assert store.find("trapped") == stored.model


def test_labels_and_aliases_may_change_after_the_signature(stored):
    stored.sign()
    labels.change("trapped", ["stage=canary"])
    aliases.promote("trapped", "production")
    assert signing.check(stored.model.path, stored.model.tag, [stored.trusted])


def test_a_damaged_model_is_not_signed(stored):
    flip(stored.model.path / "model.onnx")
    with pytest.raises(StoreError, match=r"model\.onnx was changed"):
        stored.sign()
    assert not (stored.model.path / signing.SIGNATURE).exists()


def test_a_model_with_a_link_is_not_signed(stored):
    link(stored)
    with pytest.raises(StoreError, match=r"was not signed: model\.onnx is no plain file"):
        stored.sign()


def test_a_store_that_cannot_be_written_to_keeps_the_earlier_signature(stored, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    stored.sign()
    before = (stored.model.path / signing.SIGNATURE).read_bytes()
    monkeypatch.setattr(signing, "write", full)
    with pytest.raises(StoreError, match=f"{stored.model.tag} could not be signed: No space left"):
        stored.sign()
    assert (stored.model.path / signing.SIGNATURE).read_bytes() == before


# The package itself


def test_the_package_reads_ours(stored):
    stored.sign()
    path = stored.model.path
    verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=stored.trusted)
    verifier.verify(path, path / signing.SIGNATURE)
    flip(path / "model.onnx")
    with pytest.raises(ValueError, match=r"Hash mismatch for .*model\.onnx"):
        verifier.verify(path, path / signing.SIGNATURE)


@pytest.mark.slow
def test_its_command_line_reads_ours_and_we_read_its(stored):
    def run(verb, *options):
        command = [sys.executable, "-m", "model_signing", verb, "key", str(path), "--signature", str(signature)]
        return subprocess.run([*command, *map(str, options)], capture_output=True, text=True)

    path, signature = stored.model.path, stored.model.path / signing.SIGNATURE
    stored.sign()
    assert run("verify", "--public_key", stored.trusted).returncode == 0
    signature.unlink()
    assert run("verify", "--public_key", stored.trusted).returncode != 0
    done = run("sign", "--private_key", stored.private)
    assert done.returncode == 0, done.stderr
    assert signing.check(path, stored.model.tag, [stored.trusted])


def test_we_read_the_packages(stored):
    """As it signs by default: with BentoML's file."""
    path = stored.model.path
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=stored.private)
    signer.sign(path, path / signing.SIGNATURE)
    assert signing.check(path, stored.model.tag, [stored.trusted])


# Keys


def test_only_its_owner_can_read_the_private_key(stored):
    assert stat.S_IMODE(stored.private.stat().st_mode) == 0o600
    assert (stored.private.name, stored.trusted.name) == ("release.pem", "release.pub.pem")


@pytest.mark.parametrize("left", ["release.pem", "release.pub.pem"])
def test_no_key_is_overwritten(stored, left):
    for file in (stored.private, stored.trusted):
        if file.name != left:
            file.unlink()
    before = (stored.mark.parent / left).read_bytes()
    with pytest.raises(QuantbentoError, match=f"{left} would be overwritten"):
        signing.keygen(stored.mark.parent / "release")
    assert (stored.mark.parent / left).read_bytes() == before
    assert len(list(stored.mark.parent.glob("release*"))) == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(QuantbentoError, match=r"gone/k\.pem could not be written: No such file"):
        signing.keygen(tmp_path / "gone" / "k")


def pem(key, password: bytes | None = None) -> bytes:
    protection = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, protection)


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_keys_of_other_tools_can_be_used(stored, tmp_path, curve):
    key = ec.generate_private_key(curve)
    (tmp_path / "own.pem").write_bytes(pem(key))
    (tmp_path / "own.pub.pem").write_bytes(public_pem(key))
    stored.sign(tmp_path / "own.pem")
    assert signing.check(stored.model.path, stored.model.tag, [tmp_path / "own.pub.pem"])


@pytest.mark.parametrize("kind", ["private", "public"])
def test_a_key_that_cannot_be_used_is_named(stored, tmp_path, kind):
    key = ec.generate_private_key(ec.SECP256R1())
    wrong = {
        "text": b"no key",
        "password": pem(key, b"secret"),
        "rsa": pem(rsa.generate_private_key(65537, 2048)),
        "curve": pem(ec.generate_private_key(ec.SECP256K1())),
        "other": public_pem(key) if kind == "private" else pem(key),
    }
    if kind == "public":
        wrong |= {
            "rsa": public_pem(rsa.generate_private_key(65537, 2048)),
            "curve": public_pem(ec.generate_private_key(ec.SECP256K1())),
        }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(QuantbentoError, match=f"{name} is no {kind} key that can be used"):
            use(stored, tmp_path / name, kind)
    with pytest.raises(QuantbentoError, match=rf"the {kind} key {tmp_path}/gone cannot be read: No such file"):
        use(stored, tmp_path / "gone", kind)


def use(stored, key, kind):
    if kind == "private":
        stored.sign(key)
    else:
        signing.check(stored.model.path, stored.model.tag, [key])


def test_without_the_package_the_extra_is_named(stored, monkeypatch):
    stored.sign()
    monkeypatch.setitem(sys.modules, "model_signing.verifying", None)
    monkeypatch.setitem(sys.modules, "model_signing.signing", None)
    for todo in (
        lambda: signing.check(stored.model.path, stored.model.tag, [stored.trusted]),
        stored.sign,
        lambda: signing.keygen(stored.mark),
    ):
        with pytest.raises(QuantbentoError, match=r"not installed; run: pip install 'quantbento\[sign\]'"):
            todo()
