"""A pickle names no folder of the machine that made it, not even that of the project whose code it holds."""

import importlib
import pickle
import subprocess
import sys
import sysconfig
import types
from pathlib import Path

import cloudpickle
import pytest

from quantbento.core.pickling import dump
from tests.conftest import ROOT
from tests.jobs import run_elsewhere

NUMBERS = "def double(x):\n    return 2 * x\n"
EVERYTHING = """
import functools
from dataclasses import dataclass
from far_project import numbers

def twice(function):
    @functools.wraps(function)
    def called(x):
        return function(function(x))
    return called

@twice
def decorated(x):
    return x + 10

def factorial(x):
    return x * factorial(x - 1) if x else 1

def counted(x):
    yield from range(x)

def place():
    return __file__

@dataclass
class Base:
    factor: int = 3

    def __post_init__(self):
        self.function = lambda x: x + self.one
        self.closure = self.static(self.factor)

    def method(self, x):
        return numbers.double(x)

class Everything(Base):
    @property
    def one(self):
        return 1

    @classmethod
    def made(cls):
        return cls(4)

    @staticmethod
    def static(factor):
        def outer(x):
            def inner(y):
                return y * factor
            return inner(x)
        return outer

    def method(self, x):
        return super().method(x)

    def __call__(self, x):
        parts = [self.function, self.closure, self.method, decorated]
        return [*(f(x) for f in parts), self.made().closure(x), factorial(4), *counted(2), place()]
"""
CALL = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(21))"


def write_project(folder: Path) -> None:
    package = folder / "far_project"
    package.mkdir(parents=True)
    for name, text in {"__init__": "", "numbers": NUMBERS, "everything": EVERYTHING}.items():
        (package / f"{name}.py").write_text(text)


@pytest.fixture
def everything(tmp_path, monkeypatch):
    """The module `far_project.everything`, from a package that is not installed."""
    write_project(tmp_path / "src")
    monkeypatch.syspath_prepend(tmp_path / "src")
    yield importlib.import_module("far_project.everything")
    for name in [n for n in sys.modules if n.startswith("far_project")]:
        del sys.modules[name]


@pytest.fixture
def elsewhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


def test_code_of_every_kind_works_elsewhere_and_names_no_folder(everything, elsewhere):
    value = everything.Everything()
    *answers, place = value(21)
    assert answers == [22, 63, 42, 41, 84, 24, 0, 1]
    assert place == everything.__file__
    dump(value, elsewhere / "value.pkl", classes=[everything.Everything])
    expected = [*answers, "far_project/everything.py"]
    assert run_elsewhere(CALL, elsewhere, "value.pkl").strip() == str(expected)
    assert not names_a_folder(elsewhere / "value.pkl")


def test_the_user_s_own_code_is_left_as_it_was(everything, tmp_path):
    file, before = everything.__file__, dict(vars(everything))
    numbers = dict(vars(everything.numbers))
    dump(everything.Everything(), tmp_path / "value.pkl", classes=[everything.Everything])
    assert everything.Everything.__call__.__code__.co_filename == file
    assert vars(everything) == before
    assert vars(everything.numbers) == numbers


def test_a_traceback_names_the_source_file_as_it_is_imported(everything, elsewhere):
    dump(everything.Everything(), elsewhere / "value.pkl", classes=[everything.Everything])
    code = (
        "import pickle, sys, traceback\n"
        "value = pickle.load(open(sys.argv[1], 'rb'))\n"
        "try:\n    value.method(None)\n"
        "except TypeError:\n    print(traceback.format_exc())"
    )
    printed = run_elsewhere(code, elsewhere, "value.pkl")
    line = EVERYTHING.splitlines().index("        return super().method(x)") + 1
    assert f'File "far_project/everything.py", line {line}, in method' in printed
    assert 'File "far_project/numbers.py", line 2, in double' in printed


def test_a_package_s_own_file_is_named_too(everything, tmp_path):
    package = sys.modules["far_project"]
    Path(package.__file__).write_text("def place():\n    return __file__, __path__\n")
    importlib.reload(package)
    dump(package.place, tmp_path / "a.pkl", classes=[package.place])
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert loaded() == ("far_project/__init__.py", [])
    assert loaded.__code__.co_filename == "far_project/__init__.py"


def test_a_script_s_code_names_the_script(tmp_path, elsewhere):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom quantbento.core.pickling import dump\n\n"
        "class Model:\n    def __call__(self, x):\n        return x, __file__\n\n"
        "dump(Model(), Path(sys.argv[1]), classes=[Model])\n"
    )
    subprocess.run([sys.executable, str(script), str(elsewhere / "value.pkl")], check=True)
    assert not names_a_folder(elsewhere / "value.pkl")
    assert run_elsewhere(CALL, elsewhere, "value.pkl").strip() == "(21, 'train.py')"


@pytest.mark.parametrize(
    ("compiled_as", "named"),
    [("/somebody/cell-7.py", "cell-7.py"), ("<string>", "<string>"), ("relative/file.py", "relative/file.py")],
)
def test_code_of_no_module_is_named_without_its_folder(tmp_path, compiled_as, named):
    namespace = {}
    exec(compile("def function(x):\n    return x", compiled_as, "exec"), namespace)
    dump(namespace["function"], tmp_path / "a.pkl", classes=[])
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert loaded(3) == 3
    assert loaded.__code__.co_filename == named


def test_a_pickle_is_the_same_wherever_the_project_lies(tmp_path):
    """A pickle of functions only: cloudpickle gives each class a random number."""
    code = (
        "from pathlib import Path\nfrom quantbento.core.pickling import dump\n"
        "from far_project.everything import decorated\ndump(decorated, Path('value.pkl'), classes=[decorated])"
    )
    pickles = []
    for place in (tmp_path / "here", tmp_path / "far" / "away"):
        write_project(place)
        run_elsewhere(code, place)
        pickles.append((place / "value.pkl").read_bytes())
    assert pickles[0] == pickles[1]


def test_a_lazy_module_is_named_not_copied(tmp_path, monkeypatch):
    """Without this, Transformers' lazy module is pickled with its file's path and all that it could import: 170 kB."""

    class Lazy(types.ModuleType):
        def __reduce__(self):
            return Lazy, (str(ROOT / "lazy_module.py"),)

    module = Lazy("lazy_module")
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    dump({"module": module}, tmp_path / "a.pkl", classes=[])
    assert pickle.loads((tmp_path / "a.pkl").read_bytes())["module"] is module
    assert not names_a_folder(tmp_path / "a.pkl")


def test_a_transformers_model_forgets_the_folder_it_was_loaded_from(tiny_classifier, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_classifier).eval()
    assert model.name_or_path == model.config.name_or_path == str(tiny_classifier)
    dump(model, tmp_path / "a.pkl", classes=[type(model)])
    assert str(tiny_classifier).encode() not in (tmp_path / "a.pkl").read_bytes()
    assert model.name_or_path == model.config.name_or_path == str(tiny_classifier)
    loaded, words = pickle.loads((tmp_path / "a.pkl").read_bytes()), torch.tensor([[2, 5, 17, 3]])
    assert loaded.name_or_path == loaded.config.name_or_path == ""
    assert loaded.config.id2label == model.config.id2label
    plain = pickle.loads(cloudpickle.dumps(model))  # not `model`: its mapped weights are aligned differently
    with torch.no_grad():
        assert torch.equal(loaded(words).logits, plain(words).logits)


def test_a_model_on_the_hub_keeps_its_name(tmp_path):
    from transformers import BertConfig

    config = BertConfig(hidden_size=32, name_or_path="owner/name")
    dump(config, tmp_path / "a.pkl", classes=[BertConfig])
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert loaded.name_or_path == "owner/name"
    assert loaded.to_dict() == config.to_dict()


def names_a_folder(path: Path) -> bool:
    """Whether a file says where the tests, this project or its packages lie."""
    data = path.read_bytes()
    return any(str(p).encode() in data for p in (path.parent.parent, ROOT, sysconfig.get_path("purelib")))
