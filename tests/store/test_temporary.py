"""A store for a while, here and in processes started from here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from quantbento import store
from quantbento.store.atomic import models_path
from quantbento.store.temporary import temporary_store

WHERE = "from quantbento.store.atomic import models_path; print(models_path())"


def test_models_go_there_while_it_lasts(demo_model, bento_home, tmp_path):
    folder = tmp_path / "for-a-while"
    with temporary_store(folder):
        assert store.models() == []
        assert models_path() == folder / "models"
        done = subprocess.run([sys.executable, "-c", WHERE], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(folder / "models")
    assert [model.tag for model in store.models()] == [demo_model.tag]
    assert os.environ["BENTOML_HOME"] == str(bento_home)


@pytest.mark.parametrize("before", ["somewhere", None], ids=["set", "unset"])
def test_the_environment_is_as_before_even_after_an_error(bento_home, tmp_path, monkeypatch, before):
    if before is None:
        monkeypatch.delenv("BENTOML_HOME")
    else:
        monkeypatch.setenv("BENTOML_HOME", before)
    with pytest.raises(RuntimeError), temporary_store(tmp_path / "a"):
        raise RuntimeError
    assert os.environ.get("BENTOML_HOME") == before
    assert models_path() == bento_home / "models"
