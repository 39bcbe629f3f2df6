"""`quantbento keys` as a user runs it."""

from __future__ import annotations

import pytest

from quantbento import cli
from quantbento.serving import key_file


def test_a_key_is_shown_once_listed_by_name_and_removed(tmp_path, capsys):
    path = str(tmp_path / "keys")
    assert cli.main(["keys", "add", path, "ada"]) == 0
    key = capsys.readouterr().out.strip()  # alone, for a script
    assert key_file.read(tmp_path / "keys") == {"ada": key_file.digest_of(key.encode())}
    assert cli.main(["keys", "list", path]) == 0
    assert capsys.readouterr().out == "ada\n"
    assert cli.main(["keys", "remove", path, "ada"]) == 0
    assert cli.main(["keys", "list", path]) == 0
    assert "quantbento keys add" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["list"], ["remove"], ["add"]], ids=lambda arguments: arguments[0])
def test_mistakes_are_one_error_without_a_traceback(tmp_path, capsys, arguments):
    path = tmp_path / "keys"
    path.write_text("nonsense\n")
    names = [] if arguments == ["list"] else ["ada"]
    assert cli.main(["keys", *arguments, str(path), *names]) == 2
    assert capsys.readouterr().err.startswith("error: ")
