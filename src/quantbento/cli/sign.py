"""Signatures of stored models: `quantbento keygen`, `sign`; `verify` is in quantbento.cli.models."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    keygen = commands.add_parser("keygen", help="make a pair of keys to sign models with")
    keygen.add_argument("--out", type=Path, required=True, metavar="NAME", help="writes NAME.pem and NAME.pub.pem")
    keygen.set_defaults(run=_keygen)
    sign = commands.add_parser("sign", help="sign a stored model, so that services can tell it from any other")
    sign.add_argument("tag", help="name, name:version or name:alias")
    sign.add_argument("--key", type=Path, required=True, metavar="NAME.pem", help="the private key")
    sign.set_defaults(run=_sign)


def _keygen(arguments: argparse.Namespace) -> int:
    from quantbento.store import signing

    private, public = signing.keygen(arguments.out)
    print(f"{private} signs models: keep it secret, and out of images and repositories")
    print(f"{public} checks signatures: give it to services, as trusted_keys")
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    from quantbento import store
    from quantbento.store import signing

    model = store.find(arguments.tag)
    signing.sign(model.path, model.tag, arguments.key)
    print(f"signed {model.tag} with {arguments.key}")
    return 0
