"""`quantbento deploy render` as a user runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quantbento import cli
from tests.conftest import ROOT, model_store
from tests.packing.test_kubernetes_templates import KUBERNETES
from tests.stored_bento import GPU, write_bento


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store, in a folder with the templates."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes")
    with model_store(tmp_path / "home") as home:
        yield home / "bentos"


def test_render_writes_the_folder_and_says_what_to_run(store, capsys):
    write_bento(store)
    assert cli.main(["deploy", "render", "my-encoder"]) == 0
    folder = Path("deploy", "rendered", "my-encoder")
    assert (folder / "kustomization.yaml").is_file()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: my-encoder:v1 as image my-encoder:v1, overlay cpu"
    assert lines[1].startswith("note: the cluster has to find the image my-encoder:v1")
    assert lines[2:] == ["next:", f"  kubectl kustomize {folder}", f"  kubectl apply -k {folder}"]


def test_every_option_reaches_the_folder(store, capsys):
    write_bento(store, "my-llm:v1", GPU)
    options = ["--overlay", "gpu", "--image", "registry.example/llm:7", "--replicas", "2", "--keda", "--output", "out"]
    assert cli.main(["deploy", "render", "my-llm:v1", *options]) == 0
    assert "out: my-llm:v1 as image registry.example/llm:7, overlay gpu" in capsys.readouterr().out
    written = Path("out", "kustomization.yaml").read_text()
    assert "components/keda" in written
    assert "registry.example/llm" in written
    assert "minReplicaCount" in Path("out", "scaledobject.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["my-encodr"], "no Bento 'my-encodr' in the store; did you mean 'my-encoder'?"),
        (["my-encoder", "--replicas", "0"], "replicas must be at least 1, not 0"),
        (["my-encoder", "--output", "deploy"], "deploy was not written by quantbento deploy render"),
    ],
    ids=["bento", "replicas", "output"],
)
def test_a_mistake_is_exit_code_2_and_no_traceback(store, arguments, said, capsys):
    write_bento(store)
    assert cli.main(["deploy", "render", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")


def test_without_templates_of_its_own_a_folder_gets_quantbentos(store, capsys):
    write_bento(store)
    shutil.rmtree("deploy")
    assert cli.main(["deploy", "render", "my-encoder", "--keda"]) == 0
    base = Path("deploy", "rendered", "my-encoder", "base")
    assert {p.name: p.read_bytes() for p in base.iterdir()} == {
        p.name: p.read_bytes() for p in (KUBERNETES / "base").iterdir()
    }
    assert f"note: copy {KUBERNETES} to deploy/kubernetes: serverAddress in" in capsys.readouterr().out


def test_templates_that_lack_a_part_are_named(store, capsys):
    write_bento(store)
    shutil.rmtree("deploy/kubernetes/base")
    assert cli.main(["deploy", "render", "my-encoder"]) == 2
    assert "error: no templates base in deploy/kubernetes. quantbento has its own" in capsys.readouterr().err


def test_its_options_are_known_before_anything_heavy_is_imported():
    code = "import sys, quantbento.cli.deploy; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"bentoml", "yaml", "rich", "quantbento.packing.kubernetes"} & set(done.stdout.split())


def test_sweep_writes_a_job_per_variant_and_says_what_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "sweep"
    options = ["--image", "registry.example/q:1", "--queue", "team-a", "--output", str(folder)]
    assert cli.main(["deploy", "sweep", "configs/two-moons.yaml", *options]) == 0
    jobs = sorted(path.name.removeprefix("job-").removesuffix(".yaml") for path in folder.glob("job-*.yaml"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: {len(jobs)} variants of two-moons, each with CPUs"
    assert lines[3:5] == ["next:", f"  kubectl apply -k {folder}"]
    launched = [line.split("VARIANT=")[1].split()[0] for line in lines if "sky jobs launch" in line]
    assert sorted(launched) == jobs and jobs
    assert lines[-1] == "  quantbento merge /results/*/reports --output reports"


def test_a_mistake_in_a_sweep_is_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    given = ["--image", "q", "--output", str(tmp_path / "sweep")]
    assert cli.main(["deploy", "sweep", "configs/two-mons.yaml", *given]) == 2
    assert "no such file; did you mean 'configs/two-moons.yaml'?" in capsys.readouterr().err
    assert cli.main(["deploy", "sweep", "configs/two-moons.yaml", *given, "--queue", "Team A"]) == 2
    assert "queue 'Team A' is no name in Kubernetes" in capsys.readouterr().err
