"""A stand-in for docker or buildah: a shell script that writes its arguments down."""

from __future__ import annotations

from pathlib import Path

END = "\x1f"


class FakeBuilder:
    """The program at `path`. `script` gets the arguments too, and its exit code and output are the program's."""

    def __init__(self, path: Path, script: str = "") -> None:
        self.path = path
        self._log = path.with_name(f".{path.name}.log")
        self._log.write_text("")
        path.write_text(
            f"#!/bin/sh\nprintf '%s\\036' \"$@\" >> '{self._log}'\nprintf '\\037' >> '{self._log}'\n{script}\n"
        )
        path.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call, in order."""
        return [call.split("\x1e")[:-1] for call in self._log.read_text().split(END)[:-1]]
