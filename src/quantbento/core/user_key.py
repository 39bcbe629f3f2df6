"""A secret of the user's on this machine. What is signed with it was written by this user, here."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

BYTES = 32


def key_file() -> Path:
    """`quantbento/cache.key` in `XDG_STATE_HOME`, or in `~/.local/state`. It may not exist yet."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser().absolute() / "quantbento" / "cache.key"


def user_key() -> bytes:
    """32 bytes, made on first use, readable by this user alone.

    Raises:
        OSError: they can be neither read nor written.
    """
    path = key_file()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = path.with_name(f"{path.name}-{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(BYTES))
            os.link(staged, path)  # unlike a rename, it does not replace the key of a run that was first
        except FileExistsError:
            pass
        finally:
            staged.unlink(missing_ok=True)
    key = path.read_bytes()
    if len(key) != BYTES:
        raise OSError(f"{path} is damaged; remove it")
    return key
