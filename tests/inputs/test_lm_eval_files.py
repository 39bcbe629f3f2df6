"""Tasks are another input once a file of theirs or a setting changes, and the same in another place."""

import json
import shutil

from quantbento.inputs.lm_eval_files import identity
from quantbento.recipe.lm_eval import LmEval
from tests.judging.lm_eval.bigrams import write_choices


def of(folder, **more):
    return identity(LmEval.model_validate({"tasks": ["choices"], "include_path": str(folder), **more}))


def test_it_is_by_content(tmp_path):
    write_choices(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = of(tmp_path / "a")
    assert of(tmp_path / "b") == first
    assert str(tmp_path) not in json.dumps(first)
    assert of(tmp_path / "a", limit=5) != first
    (tmp_path / "b" / "choices.jsonl").write_text("{}\n")
    assert of(tmp_path / "b") != first
